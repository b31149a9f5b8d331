import { hash } from 'node:crypto';
import { decodeServerText, type ServerMessage } from '@guidon/protocol/live-updates';
import { WeakTable } from './weak-table.js';

/** Heartbeats and goodbyes are decoded sooner than they are found. */
const SHARED_BYTES_MIN = 256;

/** By the hash of its bytes. Whoever decodes them gets the same message, which nobody changes. */
const frames = new WeakTable<ServerMessage>();

/** `decodeServerText`, once for all clients of this thread that are sent the same frame. Throws `malformed-body`. */
export function decodeFrame(bytes: Buffer): ServerMessage {
  if (bytes.length < SHARED_BYTES_MIN) return decodeServerText(bytes.toString('utf8'));
  const name = hash('sha256', bytes, 'base64url');
  const known = frames.find(name);
  if (known !== undefined) return known;
  const message = decodeServerText(bytes.toString('utf8'));
  frames.add(name, message);
  return message;
}
