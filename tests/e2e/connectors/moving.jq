# moving - an ATS that sends us to other hosts of its own.

def meta: {
  name: "moving",
  title: "moving",
  base_url: null,
  credentials: {token: {help: "of the sandbox"}},
  auth: {kind: "header", name: "Authorization", value: "Bearer {token}"},
  redirects: ["localhost"],
  rate: null,
  capabilities: {note: {}}
};

def note: {request: {method: "POST", path: ["candidates", .candidate.id, "notes"], body: {body: .write.text}}};
