import { plainPage } from '../admin-api/plain-page.js';

/** Where people log in. */
export const LOGIN_HTML = plainPage({
  title: 'Log in to Guidon',
  script: '/login.js',
  content: `
<form id="form" hidden>
<label for="email">Email</label>
<input id="email" name="email" type="email" required maxlength="254" autocomplete="username">
<label for="password">Password</label>
<input id="password" name="password" type="password" required maxlength="256" autocomplete="current-password">
<button>Log in</button>
<button id="provider" type="button">Log in with the identity provider</button>
</form>
<section id="inside" hidden>
<p id="who"></p>
<button id="logout">Log out</button>
</section>`,
});

export const LOGIN_SCRIPT = `'use strict';
const find = (id) => document.getElementById(id);
let csrfToken = '';
async function call(method, path, body) {
  const headers = { 'x-csrf-token': csrfToken, ...(body === undefined ? {} : { 'content-type': 'application/json' }) };
  const response = await fetch(path, { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
  const answer = response.status === 204 ? {} : await response.json();
  if (!response.ok) throw new Error(answer.detail);
  return answer;
}
function show(own) {
  csrfToken = own === undefined ? '' : own.csrfToken;
  find('form').hidden = own !== undefined;
  find('inside').hidden = own === undefined;
  find('who').textContent = own === undefined ? '' : 'You are logged in as ' + own.person.name + ' (' + own.person.email + ').';
  find('error').textContent = '';
}
const tell = (reason) => { find('error').textContent = reason.message; };
find('form').addEventListener('submit', (event) => {
  event.preventDefault();
  call('POST', '/api/v1/login', Object.fromEntries(new FormData(find('form')))).then(show, tell);
});
find('provider').addEventListener('click', () => {
  call('POST', '/api/v1/login/oidc', {}).then(({ authorizationUrl }) => location.assign(authorizationUrl), tell);
});
find('logout').addEventListener('click', () => call('POST', '/api/v1/logout').then(() => show(), tell));
call('GET', '/api/v1/me').then(show, () => show());
`;
