import { PlatformError } from '@guidon/protocol';
import { ulid } from 'ulid';
import type { RecordWrite } from '../commit/change.js';
import type { StoreReader } from '../store/control-store.js';
import { keys } from '../store/keys.js';
import { emailKeyOf, findPersonByEmail } from './person-read-model.js';
import type { PersonPointer, PersonRecord } from './person-record.js';

type NewPerson = Pick<
  PersonRecord,
  'personId' | 'email' | 'name' | 'passwordHash' | 'isInstallationAdmin' | 'createdAt'
>;

export const newPersonId = (): string => `per_${ulid()}`;

/** What makes a person: the row, and the address that nobody else can have from then on. */
export function planPerson(store: StoreReader, details: NewPerson): { person: PersonRecord; records: RecordWrite[] } {
  if (findPersonByEmail(store, details.email) !== undefined) {
    throw new PlatformError('conflict', 'somebody has this email address already: log in instead');
  }
  const person: PersonRecord = {
    version: 1,
    ...details,
    sessionEpoch: 1,
    disabledAt: null,
  };
  const pointer: PersonPointer = { version: 1, personId: person.personId };
  return {
    person,
    records: [
      personWrite(undefined, person),
      { key: keys.personEmail(emailKeyOf(person.email)), read: undefined, value: pointer },
    ],
  };
}

export function personWrite(read: PersonRecord | undefined, value: PersonRecord): RecordWrite {
  return { key: keys.person(value.personId), read, value };
}

/** The person without any open session: whoever changes what somebody may do makes him log in again. */
export function withoutSessions(person: PersonRecord): PersonRecord {
  return { ...person, sessionEpoch: person.sessionEpoch + 1, version: person.version + 1 };
}
