/** How this SDK names itself to nodes. The version is that of package.json (a test compares them). */
export const SDK = { name: '@guidon/server-sdk', version: '0.1.0' } as const;
