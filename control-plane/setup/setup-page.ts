import { linkFormScript, plainPage } from '../admin-api/plain-page.js';

/** The page behind the setup link. */
export const SETUP_HTML = plainPage({
  title: 'Set up Guidon',
  script: '/setup.js',
  content: `
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
</section>`,
});

export const SETUP_SCRIPT = linkFormScript({
  action: '/api/v1/setup',
  incomplete: 'Open the whole link that was printed at the start.',
  show: `
document.getElementById('token').textContent = answer.token;
document.getElementById('result').hidden = false;`,
});

export const SETUP_STYLE = `body { font: 1rem/1.5 system-ui, sans-serif; margin: 3rem auto; max-width: 36rem; padding: 0 1rem; color-scheme: light dark; }
label, input, button { display: block; margin: 0.5rem 0; font: inherit; }
input { width: 100%; box-sizing: border-box; padding: 0.5rem; }
button { padding: 0.5rem 1rem; }
output { display: block; overflow-wrap: anywhere; font-family: ui-monospace, monospace; padding: 1rem; border: 1px solid; }
[role='alert'] { color: #c00; }
`;
