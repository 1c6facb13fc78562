# oauth-chain - a session that takes three requests.

def meta: {
  name: "oauth-chain",
  title: "oauth-chain",
  base_url: null,
  settings: {auth_url: {help: "where tokens come from"}},
  credentials: {
    client_id: {help: "of the client"},
    client_secret: {help: "likewise"},
    refresh_token: {required: false, help: "the first one"}
  },
  auth: {
    kind: "chain",
    refresh_token: "{refresh_token}",
    steps: [
      {method: "GET", url: "{auth_url}/info", query: {user: "{client_id}"}, captures: {oauth_url: "/oauthUrl"}},
      {
        method: "POST",
        url: "{oauth_url}/token",
        form: {grant_type: "refresh_token", refresh_token: "{refresh_token}"},
        basic: {username: "{client_id}", password: "{client_secret}"},
        captures: {access_token: "/access_token", refresh_token: "/refresh_token"}
      },
      {
        method: "POST",
        url: "{auth_url}/login",
        query: {version: "*", access_token: "{access_token}"},
        captures: {session: "/session", api: "/api"}
      }
    ],
    name: "X-Session",
    value: "{session}",
    base_url: "{api}",
    invalid_statuses: [412]
  },
  rate: null,
  capabilities: {note: {}}
};

def note: {request: {method: "POST", path: ["candidates", .candidate.id, "notes"], body: {body: .write.text}}};
