/** The page behind the setup link. Script and style are files of their own: the policy allows no inline code. */
export const SETUP_HTML = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Set up Guidon</title>
<link rel="stylesheet" href="/setup.css">
<script src="/setup.js" defer></script>
</head>
<body>
<main>
<h1>Set up Guidon</h1>
<form id="form">
<label for="name">Name of the first admin</label>
<input id="name" name="name" required maxlength="200" autocomplete="name">
<label for="email">Email to log in with</label>
<input id="email" name="email" type="email" required maxlength="254" autocomplete="username">
<label for="password">Password, at least 12 characters</label>
<input id="password" name="password" type="password" required minlength="12" maxlength="256" autocomplete="new-password">
<button>Create the account and an admin key</button>
</form>
<section id="result" hidden>
<h2>Your admin key</h2>
<p>It is shown this once. Keep it in a password manager.</p>
<output id="token"></output>
</section>
<p id="error" role="alert"></p>
</main>
</body>
</html>
`;

/** The token is in the fragment, which browsers never send: it leaves the page in the body of one request only. */
export const SETUP_SCRIPT = `'use strict';
const token = location.hash.slice(1);
history.replaceState(null, '', location.pathname);
const form = document.getElementById('form');
const error = document.getElementById('error');
if (token === '') error.textContent = 'Open the whole link that was printed at the start.';
form.addEventListener('submit', async (event) => {
  event.preventDefault();
  error.textContent = '';
  const button = form.querySelector('button');
  button.disabled = true;
  try {
    const response = await fetch('/api/v1/setup', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ token, ...Object.fromEntries(new FormData(form)) }),
    });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.detail);
    document.getElementById('token').textContent = answer.token;
    document.getElementById('result').hidden = false;
    form.hidden = true;
  } catch (reason) {
    error.textContent = reason.message;
    button.disabled = false;
  }
});
`;

export const SETUP_STYLE = `body { font: 1rem/1.5 system-ui, sans-serif; margin: 3rem auto; max-width: 36rem; padding: 0 1rem; color-scheme: light dark; }
label, input, button { display: block; margin: 0.5rem 0; font: inherit; }
input { width: 100%; box-sizing: border-box; padding: 0.5rem; }
button { padding: 0.5rem 1rem; }
output { display: block; overflow-wrap: anywhere; font-family: ui-monospace, monospace; padding: 1rem; border: 1px solid; }
[role='alert'] { color: #c00; }
`;
