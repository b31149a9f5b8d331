/** The page behind an invitation link. Script and style are files of their own: the policy allows no inline code. */
export const INVITATION_HTML = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>You are invited to Guidon</title>
<link rel="stylesheet" href="/setup.css">
<script src="/invitation.js" defer></script>
</head>
<body>
<main>
<h1>You are invited to Guidon</h1>
<form id="form">
<label for="name">Your name</label>
<input id="name" name="name" required maxlength="200" autocomplete="name">
<label for="password">A password, at least 12 characters</label>
<input id="password" name="password" type="password" required minlength="12" maxlength="256" autocomplete="new-password">
<button>Make my account</button>
</form>
<p id="result" role="status"></p>
<p id="error" role="alert"></p>
</main>
</body>
</html>
`;

/** The token is in the fragment, which browsers never send: it leaves the page in the body of one request only. */
export const INVITATION_SCRIPT = `'use strict';
const token = location.hash.slice(1);
history.replaceState(null, '', location.pathname);
const form = document.getElementById('form');
const error = document.getElementById('error');
if (token === '') error.textContent = 'Open the whole link that you were sent.';
form.addEventListener('submit', async (event) => {
  event.preventDefault();
  error.textContent = '';
  const button = form.querySelector('button');
  button.disabled = true;
  try {
    const response = await fetch('/api/v1/invitations/accept', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ token, ...Object.fromEntries(new FormData(form)) }),
    });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.detail);
    document.getElementById('result').textContent = 'Welcome, ' + answer.person.name + '. You are logged in as ' + answer.person.email + '.';
    form.hidden = true;
  } catch (reason) {
    error.textContent = reason.message;
    button.disabled = false;
  }
});
`;
