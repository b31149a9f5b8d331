// What a page of a test is: TypeScript that is bundled for the browser and says on `window` what the test asks for.
const root = document.querySelector('#root');
if (root === null) throw new Error('the page has a root');
root.textContent = `hello from ${location.origin}, secure: ${isSecureContext}`;
await navigator.locks.request('hello', () => {
  document.title = 'hello';
});
