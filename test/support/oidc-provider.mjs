import { createServer } from 'node:http';
import { Provider } from 'oidc-provider';

// A real OpenID provider as a process of its own. Prints its issuer, then waits for `{clientId, clientSecret, redirectUri}` from its parent.
// Who logs in says the login_hint: `ada:verified` has the address ada@example.com, which the provider vouches for; `ada:unverified` has it too.

let handle = (_request, response) => response.writeHead(503).end();
const server = createServer((request, response) => handle(request, response));
server.listen(0, '127.0.0.1', () => process.send({ issuer: `http://127.0.0.1:${server.address().port}` }));
process.on('disconnect', () => process.exit(0));
process.on('message', ({ clientId, clientSecret, redirectUri }) => {
  const provider = providerFor(clientId, clientSecret, redirectUri);
  const callback = provider.callback();
  handle = (request, response) => {
    if (!request.url.startsWith('/interaction/')) return callback(request, response);
    interact(provider, request, response).catch((error) => response.writeHead(500).end(String(error)));
  };
  process.send({ isReady: true });
});

function providerFor(clientId, clientSecret, redirectUri) {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  return new Provider(issuer, {
    clients: [{ client_id: clientId, client_secret: clientSecret, redirect_uris: [redirectUri] }],
    features: { devInteractions: { enabled: false } },
    interactions: { url: (_context, { uid }) => `/interaction/${uid}` },
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] },
    pkce: { required: () => true },
    cookies: { keys: ['a key of a test'] },
    findAccount: (_context, accountId) => ({
      accountId,
      claims: () => {
        const [name, how] = accountId.split(':');
        return { sub: accountId, name, email: `${name}@example.com`, email_verified: how === 'verified' };
      },
    }),
  });
}

/** Logs in whoever the hint names and consents to everything, without a form. */
async function interact(provider, request, response) {
  const { prompt, params, session } = await provider.interactionDetails(request, response);
  const options = { mergeWithLastSubmission: true };
  if (prompt.name === 'login') {
    await provider.interactionFinished(request, response, { login: { accountId: params.login_hint } }, options);
    return;
  }
  const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope('openid email profile');
  await provider.interactionFinished(request, response, { consent: { grantId: await grant.save() } }, options);
}
