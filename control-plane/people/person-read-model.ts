import { z } from 'zod';
import { timestampSchema } from '../admin-api/params.js';
import { notFound } from '../admin-api/problems.js';
import type { StoreReader } from '../store/control-store.js';
import { keys } from '../store/keys.js';
import type { PersonPointer, PersonRecord } from './person-record.js';

const EMAIL_CHARS_MAX = 254;

export const emailSchema = z
  .string()
  .trim()
  .max(EMAIL_CHARS_MAX)
  .regex(/^[^\s@\p{Cc}]{1,64}@[^\s@\p{Cc}]+$/u, 'must be an email address');

/** One address, however it is typed: nobody tells `Ada@` from `ada@`. */
export function emailKeyOf(email: string): string {
  return email.trim().normalize('NFC').toLowerCase();
}

export const personSchema = z
  .object({
    id: z.string(),
    email: z.string(),
    name: z.string(),
    isInstallationAdmin: z.boolean(),
    hasPassword: z.boolean().describe('false = logs in through an identity provider only'),
    isDisabled: z.boolean(),
    createdAt: timestampSchema,
    version: z.int(),
  })
  .meta({ id: 'Person' });
export type PersonView = z.infer<typeof personSchema>;

export function viewPerson(person: PersonRecord): PersonView {
  const { personId, email, name, isInstallationAdmin, passwordHash, disabledAt, createdAt, version } = person;
  return {
    id: personId,
    email,
    name,
    isInstallationAdmin,
    hasPassword: passwordHash !== null,
    isDisabled: disabledAt !== null,
    createdAt,
    version,
  };
}

export function findPerson(store: StoreReader, personId: string): PersonRecord | undefined {
  return store.find<PersonRecord>(keys.person(personId));
}

export function getPerson(store: StoreReader, personId: string): PersonRecord {
  const person = findPerson(store, personId);
  if (person === undefined) throw notFound();
  return person;
}

export function findPersonByEmail(store: StoreReader, email: string): PersonRecord | undefined {
  const pointer = store.find<PersonPointer>(keys.personEmail(emailKeyOf(email)));
  return pointer === undefined ? undefined : findPerson(store, pointer.personId);
}
