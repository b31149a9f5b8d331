export * from './guidon-web-provider.js';
