import { compareUtf8, isScalarText, toScalarText, utf8Bytes } from '@guidon/engine';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const anyText = fc.string({ unit: fc.nat(0xffff).map((unit) => String.fromCharCode(unit)) });
const scalarText = fc.string({ unit: 'binary' });

describe('text', () => {
  it('compareUtf8() orders by UTF-8 bytes', () => {
    fc.assert(
      fc.property(scalarText, scalarText, (a, b) => {
        expect(Math.sign(compareUtf8(a, b))).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)));
      }),
    );
    expect(compareUtf8('🌍', '\uffff')).toBeGreaterThan(0);
    expect(['\uffff', '🌍'].sort()).toEqual(['🌍', '\uffff']); // UTF-16 order is the other one
  });

  it('utf8Bytes() counts what an encoder writes', () => {
    fc.assert(
      fc.property(anyText, (value) => {
        expect(utf8Bytes(value)).toBe(Buffer.byteLength(value));
      }),
    );
  });

  it('toScalarText() replaces lone surrogates as an encoder does', () => {
    fc.assert(
      fc.property(anyText, (value) => {
        const scalar = Buffer.from(value).toString();
        expect(toScalarText(value)).toBe(scalar);
        expect(isScalarText(value)).toBe(value === scalar);
      }),
    );
  });
});
