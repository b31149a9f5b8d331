import { describe, expect, it } from 'vitest';
import { WatchChecker, type WatchLog } from '../../support/watch-checker.js';

/** The judge of the chaos run finds each kind of wrong, and finds nothing where nothing is wrong. */
const at = (revision: number, epoch = 1) => ({ epoch, revision });
const content = (hash: string) => ({ hash, signedHash: hash });

function kindsOf(story: (log: WatchLog, checker: WatchChecker) => void): string[] {
  const checker = new WatchChecker();
  story(checker.watch('one', 'config'), checker);
  return checker.violations.map(({ kind }) => kind);
}

describe('WatchChecker', () => {
  it('finds nothing in changes, coalesced ones, resyncs, a higher epoch and silence', () => {
    expect(
      kindsOf((log, checker) => {
        log.connected();
        log.whole(at(1), content('a'));
        log.change(at(1), at(2), content('b'));
        log.change(at(2), at(7), content('c'));
        log.connected();
        log.connected();
        log.whole(at(7), content('c'));
        log.change(at(7), at(8), content('d'));
        log.connected();
        log.whole(at(3, 2), content('e'));
        checker.end('config', at(3, 2), 'e');
        checker.end('values', at(99), 'of nobody');
      }),
    ).toEqual([]);
  });

  it.each<[string, string[], (log: WatchLog, checker: WatchChecker) => void]>([
    ['a whole that is older', ['backwards'], (log) => log.whole(at(4), content('older'))],
    [
      'a whole that is older after a new connection',
      ['backwards'],
      (log) => {
        log.connected();
        log.whole(at(4), content('older'));
      },
    ],
    ['a whole of an older epoch with a higher revision', ['backwards'], (log) => log.whole(at(9, 0), content('x'))],
    ['a whole that is there already', ['repeated'], (log) => log.whole(at(5), content('five'))],
    [
      'a second whole after a new connection',
      ['repeated'],
      (log) => {
        log.connected();
        log.whole(at(5), content('five'));
        log.whole(at(5), content('five'));
      },
    ],
    ['a change to where it is', ['repeated'], (log) => log.change(at(5), at(5), content('five'))],
    ['a change to an older place', ['backwards'], (log) => log.change(at(5), at(4), content('older'))],
    ['a change on more than it has', ['gap'], (log) => log.change(at(6), at(7), content('seven'))],
    ['a change on less than it has', ['gap'], (log) => log.change(at(4), at(6), content('six'))],
    ['a change of another epoch', ['gap'], (log) => log.change(at(5, 2), at(6, 2), content('six'))],
    [
      'content that was not signed',
      ['damaged'],
      (log) => log.change(at(5), at(6), { hash: 'other', signedHash: 'six' }),
    ],
    [
      'two contents of one position',
      ['fork'],
      (_, checker) => checker.watch('two', 'config').whole(at(5), content('another five')),
    ],
    ['an end elsewhere', ['end'], (_, checker) => checker.end('config', at(6), 'six')],
    ['an end with other content', ['end'], (_, checker) => checker.end('config', at(5), 'another five')],
    [
      'a client that never heard anything',
      ['end'],
      (_, checker) => {
        checker.watch('two', 'config');
        checker.end('config', at(5), 'five');
      },
    ],
  ])('finds %s', (_, kinds, story) => {
    expect(
      kindsOf((log, checker) => {
        log.connected();
        log.whole(at(5), content('five'));
        story(log, checker);
      }),
    ).toEqual(kinds);
  });

  it('finds a change on nothing', () => {
    expect(kindsOf((log) => log.change(at(1), at(2), content('b')))).toEqual(['gap']);
  });

  it('compares content of one kind alone, says what happened, and keeps a bounded number of violations', () => {
    const checker = new WatchChecker();
    const values = checker.watch('web', 'values');
    checker.watch('srv', 'config').whole(at(5), content('config'));
    values.whole(at(5), content('values'));
    expect(checker.violations).toEqual([]);
    for (let count = 0; count < 1_000; count += 1) values.whole(at(4), content('older'));
    expect(checker.violations.length).toBe(100);
    expect(checker.violations[0]).toMatchObject({ client: 'web', detail: expect.stringContaining('whole 1.4') });
    expect(checker.eventCount).toBe(1_002);
  });
});
