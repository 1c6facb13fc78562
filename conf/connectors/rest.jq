# rest - an ATS with a plain REST API: what the sandbox ATS speaks, and what a small adapter in front of an ATS that has
# no connector of its own can speak.

def meta: {
  name: "rest",
  title: "Plain REST API",
  base_url: null,
  credentials: {token: {help: "the bearer token of the API"}},
  auth: {kind: "header", name: "Authorization", value: "Bearer {token}"},
  rate: null,
  concurrency: 64,
  timeout_ms: 30000,
  idempotency_header: "Idempotency-Key",
  capabilities: {
    stage: {needs_job: true, only_from: true},
    reject: {needs_job: true},
    fields: {batch: true},
    tags: {batch: true},
    note: {max_chars: 10000, find_marker: true, shown_as: "text"},
    assessment: {needs_job: true}
  },
  probe: true,
  notes: ["base_url and credentials.token are required; the URL may have a path."]
};

def of_candidate: ["candidates", .candidate.id];
def of_job: of_candidate + ["jobs", .job];

# The stage that the candidate stands in, null if in none; known once the lookup is made.
def current_stage: .got.current | if .status == 404 then null else .body.stage end;
def is_stage_told:
  .got.current | .status == 404 or (.body | type == "object" and (.stage | type == "string" or . == null));

def stage:
  (of_job + ["stage"]) as $path
  | {request: {method: "PUT", path: $path, body: {stage: .write.stage}}} as $move
  | (.write.only_from // []) as $from
  | if ($from | length) == 0 then $move
    elif .got.current == null then {lookup: "current", expect: [404], request: {method: "GET", path: $path}}
    elif (is_stage_told | not) then {fail: "bad_answer", message: "the stage that the candidate stands in is not a text"}
    else
      .write.stage as $wanted
      | current_stage as $now
      | if $now == $wanted then {already: true}
        elif any($from[]; . == ($now // "none")) then $move
        else
          {skip: ("the candidate is in "
                  + (if $now == null then "no stage of this job yet" else "stage \"\($now)\"" end)
                  + ", the mapping moves only from: " + ($from | join(", ")))}
        end
    end;

def reject: {request: {method: "POST", path: (of_job + ["rejection"]), body: {reason: .write.reason}}};

def fields: {request: {method: "PATCH", path: of_candidate, body: {fields: .write.fields}}};

def tags: {request: {method: "POST", path: (of_candidate + ["tags"]), body: {tags: .write.tags}}};

def note:
  {request: {method: "POST", path: (of_candidate + ["notes"]), body: {body: .write.text, marker: .write.marker}}};

def find_marker:
  if .got.notes == null then {lookup: "notes", request: {method: "GET", path: (of_candidate + ["notes"])}}
  elif (.got.notes.body | type) != "array" then {fail: "bad_answer", message: "the list of notes is not a list"}
  else
    .write.marker as $marker
    | {found: any(.got.notes.body[];
                  .marker == $marker or (.body | type == "string" and contains("[" + $marker + "]")))}
  end;

def assessment: {request: {method: "PUT", path: (of_job + ["assessment"]), body: (.write | {score, status, summary})}};

# No candidate has this name: not found is an answer that only a right address and token get.
def probe:
  if .got.notes == null
  then {lookup: "notes", expect: [404], request: {method: "GET", path: ["candidates", "atsyncd-probe", "notes"]}}
  else {already: true}
  end;
