/** Of all packages: they are built and released together. */
export const VERSION = '0.1.0';
