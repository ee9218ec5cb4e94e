// A provider of OpenID Connect (oidc-provider, which is certified); tests/support/oidc.py starts it.
// It writes {"port": N}, reads {"redirect": "URL", "page": "URL", "public": false}, and then answers.
// Every name signs in with any password. Roles are of the account: olga is an operator, vera a viewer.

import http from "node:http";
import readline from "node:readline";
import { Provider } from "oidc-provider";

const ROLES = { olga: ["staff", "operator"], vera: ["viewer"] };

const account = (id) => ({
  accountId: id,
  claims: () => ({ sub: id, preferred_username: id, roles: ROLES[id] ?? ["staff"] }),
});

const server = http.createServer();
server.listen(0, "127.0.0.1", () => process.stdout.write(`${JSON.stringify({ port: server.address().port })}\n`));

readline
  .createInterface({ input: process.stdin })
  .once("line", (line) => {
    const wanted = JSON.parse(line);
    const provider = new Provider(`http://127.0.0.1:${server.address().port}`, {
      clients: [
        {
          client_id: "liveedge",
          ...(wanted.public ? { token_endpoint_auth_method: "none" } : { client_secret: "the secret: of the client" }),
          redirect_uris: [wanted.redirect],
          post_logout_redirect_uris: [wanted.page],
        },
      ],
      pkce: { required: () => true },
      claims: { openid: ["sub"], profile: ["preferred_username", "roles"] },
      findAccount: (_, id) => account(id),
      cookies: { keys: ["a key of the tests"] },
    });
    server.on("request", provider.callback());
    process.stdout.write("{}\n");
  })
  .on("close", () => process.exit(0));
