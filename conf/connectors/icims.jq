# icims - iCIMS Talent Cloud (applicant tracking).
#
# Base URL   https://api.icims.com/customers/{customer_id}; customers in the EU: https://api-eu.icims.com.
# Auth       OAuth2 client credentials. The older HMAC signing and Basic are not spoken here.
# Ids        the candidate's external id is the person's system id, `job` the job's system id; the two meet in a recruiting
#            workflow ("applicantworkflow"), which is searched for. With candidate_id: workflow it is the workflow's own id.
# Limits     10,000 calls a day for each customer, counted anew from 00:00 UTC. HTTP/1.1 only: anything else is 505.
# Sources    certain (developer-community.icims.com: workflows, search, collection fields, recruiting workflow data model,
#            connecting, error handling): addresses, search and its filters, the shape of a status, the assessment group and its
#            lengths, errors in headers and body.
#            Not the vendor's own words: token address and audience (two published clients agree), the daily limit.
#            Only inferred: PATCH of a status by its name; the member `entry` of an assessment that is there.
# Traps      - The search answers with ids only, and from a cache of up to 15 minutes unless `staleness` says less.
#            - 404 may mean that access is denied.
#            - null or "" deletes a value.
#            - Fields that the customer made obligatory and that are empty must be sent with every PATCH, unless they are made
#              optional for the integration's login group.
#            - There is no API for notes and none for tags.

def meta: {
  name: "icims",
  title: "iCIMS Talent Cloud",
  base_url: "https://{host}/customers/{customer_id}",
  settings: {
    customer_id: {pattern: "[1-9][0-9]{0,9}", help: "your iCIMS customer number"},
    host: {default: "api.icims.com", pattern: "api(-[a-z]{2})?\\.icims\\.com",
      help: "api.icims.com, or api-eu.icims.com for customers whose data is in the EU"},
    login_host: {default: "login.icims.com", pattern: "login\\.icims\\.(com|eu|ca)",
      help: "where tokens come from: login.icims.com, for the EU login.icims.eu"},
    audience: {default: "https://api.icims.com/v1/", pattern: "https://[^ ]+", help: "what the token is for; leave it unless iCIMS tells you another"},
    candidate_id: {default: "person", pattern: "person|workflow",
      help: "what the candidate's external id is: person, or workflow, the recruiting workflow's own id"},
    fields_on: {default: "person", pattern: "person|workflow",
      help: "where fields are written: on the person or on the recruiting workflow"},
    note_field: {required: false, pattern: "[a-z][a-z0-9]*",
      help: "a text area of the recruiting workflow that notes are added to, such as field12345; iCIMS has no notes in its API"},
    assessment_name: {default: "Popp", help: "the entry of the list Assessment Name that results are written under"}
  },
  credentials: {
    client_id: {help: "of the integration; iCIMS gives it to customers with an API licence"},
    client_secret: {help: "given together with the client id"}
  },
  auth: {
    kind: "oauth2_client_credentials",
    token_url: "https://{login_host}/oauth/token",
    client_auth: "body",
    client_id: "{client_id}",
    client_secret: "{client_secret}",
    form: {audience: "{audience}"}
  },
  http1_only: true,
  rate: {count: 10, per_ms: 1000, per_day: 10000, remaining: "x-ratelimit-remaining"},
  concurrency: 2,
  timeout_ms: 60000,
  throttle_ms: 900000,
  classify: true,
  probe: true,
  capabilities: {
    stage: {needs_job: true, only_from: true},
    reject: {needs_job: true},
    fields: {batch: true},
    note: {needs_job: true, max_chars: 4000, find_marker: true},
    assessment: {needs_job: true, max_chars: 192}
  },
  notes: [
    "Candidate and job ids are iCIMS system ids. The recruiting workflow of the two is searched for, which needs a user of the group Integration User.",
    "Stages and rejection reasons are statuses of the recruiting workflow: their codes, such as D10100, or their names as iCIMS shows them.",
    "Fields are named as the API does (field12345, rcf3320 and so on), on the person or, with fields_on: workflow, on the recruiting workflow.",
    "iCIMS has no API for notes: a note is added to the text area named by the setting note_field, and without it notes fail. The integration's login group must be allowed to read that field: what it is not shown counts as empty, unless iCIMS warns of it.",
    "An assessment is an entry of the group Assessment Results: name (setting assessment_name), score, status as its result (128 characters), summary as its notes (192 characters). A later result replaces it.",
    "iCIMS allows 10,000 calls a day, counted from 00:00 UTC; when they are used up, all waits for the next day. If other integrations share them, give less. There are no tags.",
    "Setting a status runs the rules of iCIMS, which may send e-mail to the candidate; none is asked for.",
    "unverified: setting a status by its name instead of its code; replacing an assessment that is there; the token address outside the USA; the daily limit; how long a text area may be (4,000 characters are assumed)."
  ]
};

# ---- the recruiting workflow

def numbers_only: type == "string" and test("\\A[0-9]+\\z");

def ask_workflows:
  {lookup: "workflows", list: ["searchResults"], cache: "15m",
   request: {method: "POST", path: ["search", "applicantworkflows"], query: {staleness: 1},
             body: {filters: [{name: "applicantworkflow.person.id", value: [.candidate.id], operator: "="},
                              {name: "applicantworkflow.job.id", value: [.job], operator: "="}],
                    operator: "&"}}};

def workflow_ids: [.got.workflows.body.searchResults[]? | .id | select(. != null)];

# f sees the context with .flow, the workflow's path. A person who was put on the job again has several: the newest counts.
def with_workflow(f):
  if .settings.candidate_id == "workflow" then (. + {flow: ["applicantworkflows", .candidate.id]}) | f
  elif (.candidate.id | numbers_only | not) then
    {fail: "invalid", message: "the candidate's external id is not an iCIMS system id: those are numbers"}
  elif (.job | numbers_only | not) then
    {fail: "configuration", message: "job \"\(.job)\" is not an iCIMS system id: those are numbers"}
  elif .got.workflows == null then ask_workflows
  elif workflow_ids == [] then
    {fail: "not_found", message: "person \(.candidate.id) has no recruiting workflow on job \(.job) in iCIMS"}
  else (. + {flow: ["applicantworkflows", (workflow_ids | max)]}) | f
  end;

# The workflow with some of its fields.
def ask_flow($name; $fields): {lookup: $name, record: [], request: {method: "GET", path: .flow, query: {fields: $fields}}};

# ---- stage, reject

# Codes are a letter and digits.
def status_of($wanted): if ($wanted | test("^[A-Z][0-9]+$")) then {id: $wanted} else {value: $wanted} end;

def set_status($wanted): {request: {method: "PATCH", path: .flow, body: {status: status_of($wanted)}}};

# A status is written by its code or its name.
def same_status($wanted): .id == $wanted or (.value // "" | ascii_downcase) == ($wanted | ascii_downcase);

def guarded_move($from):
  (.got.current.body.status // null) as $now
  | .write.stage as $wanted
  | if $now != null and ($now | same_status($wanted)) then {already: true}
    elif any($from[]; . as $name | if $now == null then $name == "none" else ($now | same_status($name)) end) then
      set_status($wanted)
    else
      {skip: "the candidate is in \(if $now == null then "no stage of this job yet" else "stage \"\($now.value // $now.id)\"" end), the mapping moves only from: \($from | join(", "))"}
    end;

def stage:
  (.write.only_from // []) as $from
  | with_workflow(
      if ($from | length) == 0 then set_status(.write.stage)
      elif .got.current == null then ask_flow("current"; "status")
      else guarded_move($from)
      end);

def reject: with_workflow(set_status(.write.reason));

# ---- fields

def fields:
  if .settings.fields_on == "workflow" then with_workflow({request: {method: "PATCH", path: .flow, body: .write.fields}})
  elif .settings.candidate_id == "workflow" then
    {fail: "configuration", message: "with candidate_id: workflow, fields can only be written with fields_on: workflow"}
  else {request: {method: "PATCH", path: ["people", .candidate.id], body: .write.fields}}
  end;

# ---- note: text of the field, ours added at its end

# A field that is empty is not in the answer. What is no text, or what iCIMS warns of, is not known, and would be overwritten.
def note_text: .got.text.body[.settings.note_field] | if . == null then "" else . end;
def is_note_text_known:
  .settings.note_field as $field
  | (note_text | type == "string")
    and ((.got.text.body | has($field)) or (.got.text.headers["x-warning"] // "" | tostring | contains($field) | not));

def with_note_text(f):
  if .settings.note_field == null then
    {fail: "configuration",
     message: "iCIMS has no notes in its API: set settings.note_field of this connector to a text area of the recruiting workflow"}
  else
    with_workflow(
      if .got.text == null then ask_flow("text"; .settings.note_field)
      elif (.got.text.body | type) != "object" then
        {fail: "bad_answer", message: "iCIMS answered without the recruiting workflow, so that the text that is there is not known"}
      elif is_note_text_known | not then
        {fail: "configuration",
         message: "the text in \(.settings.note_field) cannot be read, and a note would take its place: let the integration's login group read the field, and see that it is a text area"}
      else f
      end)
  end;

def has_marker: .write.marker as $marker | note_text | contains("[" + $marker + "]");

def note:
  with_note_text(
    if has_marker then {already: true}
    else
      ([note_text, .write.text] | map(select(. != "")) | join("\n\n")) as $whole
      | {request: {method: "PATCH", path: .flow, body: {(.settings.note_field): $whole}}}
    end);

def find_marker: with_note_text({found: has_marker});

# ---- assessment: our entry of the group is changed, or made

def our_entry:
  .settings.assessment_name as $name
  | first((.got.results.body.assessmentresults[]? | select(.assessmentname.value == $name and .entry != null)), null);

def assessment_values:
  {assessmentname: {value: .settings.assessment_name},
   assessmentscore: .write.score,
   assessmentresult: (if .write.status == null then null else .write.status[0:128] end),
   assessmentnotes: .write.summary}
  | with_entries(select(.value != null));

def assessment:
  with_workflow(
    if .got.results == null then ask_flow("results"; "assessmentresults")
    else
      (.flow + ["fields", "assessmentresults"]) as $group
      | if our_entry == null then {request: {method: "POST", path: $group, body: assessment_values}}
        else {request: {method: "PATCH", path: ($group + [our_entry.entry]), body: assessment_values}}
        end
    end);

# ---- probe: no person has this number

def probe:
  if .got.workflows != null then {already: true}
  else
    {lookup: "workflows",
     request: {method: "POST", path: ["search", "applicantworkflows"], query: {staleness: 15},
               body: {filters: [{name: "applicantworkflow.person.id", value: ["0"], operator: "="}], operator: "&"}}}
  end;

# ---- what an answer means

# The reason in words: body {errors: [{errorMessage, errorCode}]}, else the header X-Error: "code,detail".
def reason:
  if (.body | type) == "object" and (.body.errors | type) == "array" and (.body.errors | length) > 0 then
    [.body.errors[] | .errorMessage // empty] | join("; ")
  elif .headers["x-error"] != null then .headers["x-error"] | sub("^[0-9]+ *, *"; "")
  else null
  end;

def classify:
  reason as $reason
  | if .status >= 200 and .status < 300 then
      if .request.is_write and .headers["x-warning"] != null then
        {outcome: "ok", message: "iCIMS warns: \(.headers["x-warning"] | sub("^[0-9]+ *, *"; ""))"}
      else null
      end
    elif .status == 404 then
      {outcome: "not_found", class: "not_found",
       message: "\($reason // "iCIMS does not find it"), or does not show it to this integration's user"}
    elif .status == 505 then
      {outcome: "config", class: "configuration", message: "iCIMS speaks HTTP/1.1 only; something on the way speaks another version"}
    elif $reason == null then null
    elif .status == 401 then {outcome: "reauth", class: "credentials", message: $reason}
    elif .status == 403 then {outcome: "config", class: "permission", message: $reason}
    elif .status == 429 then {outcome: "throttled", class: "rate_limited", message: $reason}
    elif .status == 408 or .status == 409 then null
    elif .status < 500 then {outcome: "invalid", class: "invalid", message: $reason}
    else {outcome: "retry", class: "unavailable", message: $reason}
    end;
