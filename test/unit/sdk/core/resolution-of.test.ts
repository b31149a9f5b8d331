import { FLAG_ERROR_CODES, type FlagDetails, resolutionOf } from '@guidon/sdk-core';
import { expect, it } from 'vitest';

const details: FlagDetails = {
  value: 'v',
  variation: 'on',
  reason: 'SPLIT',
  ruleId: 'r',
  prerequisite: 'p',
  inExperiment: true,
  revision: 3,
  flagMetadata: { flagSetId: 'env', version: '1.3' },
};

it('resolutionOf() says what OpenFeature has no member for as metadata', () => {
  expect(resolutionOf(details)).toEqual({
    value: 'v',
    variant: 'on',
    reason: 'SPLIT',
    flagMetadata: { flagSetId: 'env', version: '1.3', ruleId: 'r', prerequisite: 'p', inExperiment: true },
  });
});

it('resolutionOf() leaves out what is not there', () => {
  const plain = { value: null, reason: 'DEFAULT', revision: 0, flagMetadata: {} } as const;
  expect(Object.entries(resolutionOf(plain))).toEqual([
    ['value', null],
    ['reason', 'DEFAULT'],
    ['flagMetadata', {}],
  ]);
});

it.each(FLAG_ERROR_CODES)('resolutionOf() has a message for %s', (errorCode) => {
  const failed = resolutionOf({ value: 1, reason: 'ERROR', errorCode, revision: 1, flagMetadata: {} });
  expect([failed.errorCode, failed.errorMessage, 'variant' in failed]).toEqual([
    errorCode,
    expect.stringMatching(/./),
    false,
  ]);
});
