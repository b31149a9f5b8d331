import { linkFormScript, plainPage } from '../admin-api/plain-page.js';

/** The page behind an invitation link. */
export const INVITATION_HTML = plainPage({
  title: 'You are invited to Guidon',
  script: '/invitation.js',
  content: `
<form id="form">
<label for="name">Your name</label>
<input id="name" name="name" required maxlength="200" autocomplete="name">
<label for="password">A password, at least 12 characters</label>
<input id="password" name="password" type="password" required minlength="12" maxlength="256" autocomplete="new-password">
<button>Make my account</button>
</form>
<p id="result" role="status"></p>`,
});

export const INVITATION_SCRIPT = linkFormScript({
  action: '/api/v1/invitations/accept',
  incomplete: 'Open the whole link that you were sent.',
  show: `
document.getElementById('result').textContent =
  'Welcome, ' + answer.person.name + '. You are logged in as ' + answer.person.email + '.';`,
});
