# spiller - a program that fails with what it was given in its words.

def meta: {
  name: "spiller",
  title: "spiller",
  base_url: null,
  credentials: {token: {help: "of the sandbox"}},
  auth: {kind: "header", name: "Authorization", value: "Bearer {token}"},
  rate: null,
  capabilities: {note: {}, fields: {batch: true}, tags: {}}
};

def note: error("cannot write " + .write.body);

def fields: .write.fields | to_entries | map(.value + {}) | {request: {}};

def tags: {fail: "invalid", message: ("the tag is not " + .candidate.id)};
