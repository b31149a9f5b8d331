/** One of the few pages that people see before there is a console. */
export interface PlainPage {
  readonly title: string;
  /** Path of its script: a file of its own, for the policy allows no inline code. */
  readonly script: string;
  /** HTML between the heading and the line for errors. */
  readonly content: string;
}

/** Every argument is ours: nothing of a request may be in it. */
export function plainPage({ title, script, content }: PlainPage): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<link rel="stylesheet" href="/setup.css">
<script src="${script}" defer></script>
</head>
<body>
<main>
<h1>${title}</h1>
${content.trim()}
<p id="error" role="alert"></p>
</main>
</body>
</html>
`;
}

export interface LinkForm {
  /** What the form is sent to, with the link's token and its own fields. */
  readonly action: string;
  /** Said when the link has no token. */
  readonly incomplete: string;
  /** JavaScript that shows `answer`. */
  readonly show: string;
}

/**
 * The script of a page behind a one-time link. The token is in the fragment, which browsers never send: it leaves the page in the body of
 * one request only.
 */
export function linkFormScript({ action, incomplete, show }: LinkForm): string {
  return `'use strict';
const token = location.hash.slice(1);
history.replaceState(null, '', location.pathname);
const form = document.getElementById('form');
const error = document.getElementById('error');
if (token === '') error.textContent = ${JSON.stringify(incomplete)};
form.addEventListener('submit', async (event) => {
  event.preventDefault();
  error.textContent = '';
  const button = form.querySelector('button');
  button.disabled = true;
  try {
    const response = await fetch(${JSON.stringify(action)}, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ token, ...Object.fromEntries(new FormData(form)) }),
    });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.detail);
    ${show.trim().replaceAll('\n', '\n    ')}
    form.hidden = true;
  } catch (reason) {
    error.textContent = reason.message;
    button.disabled = false;
  }
});
`;
}
