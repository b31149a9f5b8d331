/** The body of a reply that is a file, made while it is sent: chunks are taken as fast as the client reads them. */
export class FileBody {
  readonly contentType: string;
  /** Name to save it under. */
  readonly name: string;
  readonly chunks: AsyncIterable<string | Uint8Array>;

  constructor(file: {
    readonly contentType: string;
    readonly name: string;
    readonly chunks: AsyncIterable<string | Uint8Array>;
  }) {
    this.contentType = file.contentType;
    this.name = file.name;
    this.chunks = file.chunks;
  }
}
