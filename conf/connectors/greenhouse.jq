# greenhouse - Greenhouse Recruiting, Harvest API v3.
#
# Harvest v1 and v2 end on 31 August 2026 and are not spoken here.
#
# Base URL   https://harvest.greenhouse.io/v3, one host for all customers.
# Auth       OAuth2 client credentials at https://auth.greenhouse.io/token, HTTP Basic, `sub` = the user in whose name we
#            write. Each operation has a scope of its own.
# Ids        the candidate's external id is Greenhouse's candidate id, `job` the job id, both numbers; the application is
#            looked up from the two.
# Limits     X-RateLimit-Limit, -Remaining, -Reset; 429. The length of the window is not published for v3.
# Sources    certain (harvestdocs.greenhouse.io: authentication, write-endpoint-migration-guide, reference of
#            applications-id-move): address, authentication, the move and its guard, paging by Link headers.
#            Not the vendor's own words (a working client that cites the reference): names of lists and their filters,
#            fields, notes, rejection. Only inferred from the lists: the body of applied_candidate_tags.
# Traps      - There are no single records to GET: everything is a list with filters.
#            - A move must say where the candidate stands (from_stage_id), or it is refused: 422. What is meant by it is
#              the id of the application's own stage row in one reading, the id of the job's stage in another: see the
#              setting move_from.
#            - A move runs the stage's transition rules, which may send e-mail to the candidate.
#            - Custom fields may be replaced as a set: see the setting keep_other_fields.
#            - Notes cannot be changed or deleted, an identical one is a second note.
# Example    connectors:
#   greenhouse:
#       type: greenhouse
#       credentials: {client_id: "…", client_secret: {credential: greenhouse}}
#       settings: {user_id: "4080"}

def meta: {
  name: "greenhouse",
  title: "Greenhouse (Harvest v3)",
  base_url: "https://harvest.greenhouse.io/v3",
  settings: {
    user_id: {pattern: "[1-9][0-9]{0,14}",
      help: "the id of the Greenhouse user in whose name atsyncd writes, such as 4080"},
    note_visibility: {default: "private", pattern: "admin_only|private|public",
      help: "who may read the notes: admin_only, private or public"},
    rejection_email_template: {required: false, pattern: "[1-9][0-9]{0,14}",
      help: "the id of the e-mail template that a rejection sends to the candidate; without it no e-mail is sent"},
    move_from: {default: "application_stage", pattern: "application_stage|job_interview_stage",
      help: "which id of the current stage guards a move: application_stage or job_interview_stage"},
    keep_other_fields: {default: "true", pattern: "true|false",
      help: "true: a candidate's other custom fields are read and sent back; false: only the changed ones are sent"}
  },
  credentials: {
    client_id: {help: "of an API credential (Harvest v3, OAuth) made in Greenhouse: Configure, Dev Center, API Credentials"},
    client_secret: {help: "shown once when the credential is made"}
  },
  auth: {
    kind: "oauth2_client_credentials",
    token_url: "https://auth.greenhouse.io/token",
    client_auth: "basic",
    client_id: "{client_id}",
    client_secret: "{client_secret}",
    form: {sub: "{user_id}"}
  },
  rate: {count: 50, per_ms: 30000, remaining: "x-ratelimit-remaining"},
  concurrency: 4,
  timeout_ms: 60000,
  retry_after: [{header: "X-RateLimit-Reset", unit: "epoch"}],
  classify: true,
  probe: true,
  capabilities: {
    stage: {needs_job: true, only_from: true},
    reject: {needs_job: true},
    fields: {batch: true},
    tags: {},
    note: {max_chars: 50000, find_marker: true}
  },
  notes: [
    "For a credential that the customer's own Greenhouse gives out (client credentials). What Greenhouse gives to partner products by hand (authorization code) is not supported.",
    "Candidate and job ids are Greenhouse's own numbers. The candidate's application on the job is looked up.",
    "The credential needs the scopes of: applications list, move and reject; application_stages, job_interview_stages, rejection_reasons, custom_fields, custom_field_options, candidate_tags, applied_candidate_tags and notes list; candidates list and update; candidate_tags, applied_candidate_tags and notes create.",
    "Moving a candidate runs the transition rules of the stage in Greenhouse, which may send e-mail to the candidate. A rejection sends one only with the setting rejection_email_template.",
    "Only applications in process are moved or rejected: what a recruiter has rejected or hired stays so.",
    "Greenhouse has no place for an assessment result outside its own assessment partner API: write a field or a note.",
    "unverified: which id of the current stage a move wants; if every move is refused as stale, change the setting move_from.",
    "unverified: whether custom fields that are not sent survive an update; that is why they are read and sent back (keep_other_fields).",
    "unverified: the body that applies a tag, the limit of 50 requests in 30 seconds, and e-mail templates of a rejection."
  ]
};

# ---- reading lists

# The next page's address in a Link header (RFC 8288).
def next_page:
  [.headers.link // "" | match("<([^>]*)>[^<]*;\\s*rel=\"?next\"?") | .captures[0].string] | .[0];

# A list of up to 20 pages under this name, or null once it is all there. Follows links: the first page alone has a query.
def ask_list($name; $path; $query; $more):
  (.got[$name] // []) as $pages
  | if $pages == [] then
      {lookup: $name, append: true, list: [], request: {method: "GET", path: [$path], query: ($query + {per_page: 500})}} + $more
    else
      ($pages[-1] | next_page) as $next
      | if $next != null and ($pages | length) < 20 then
          {lookup: $name, append: true, list: [], request: {method: "GET", url: $next}} + $more
        else null
        end
    end;
def ask_list($name; $path; $query): ask_list($name; $path; $query; {});

# A list that rarely changes: kept, and asked for once more before something counts as missing in it.
def ask_catalogue($name; $path; $query): ask_list($name; $path; $query; {cache: "15m"});
def ask_again($name; $path; $query): ask_list($name + " again"; $path; $query; {});

def rows($name): [(.got[$name + " again"] // .got[$name] // [])[] | .body | if type == "array" then .[] | objects else empty end];

# The row that is meant: by its id, by its exact name, else by its name in any case; null.
def find_row($rows; $wanted):
  ($wanted | ascii_downcase) as $small
  | first(($rows[] | select((.id | tostring) == $wanted)),
          ($rows[] | select(.name == $wanted)),
          ($rows[] | select((.name // "" | ascii_downcase) == $small)),
          null);

def names($rows): if ($rows | length) == 0 then "none" else [$rows[] | .name // "" | tostring] | join(", ") end;

# ---- ids: numbers in bodies

def is_id: type == "string" and test("\\A[1-9][0-9]{0,14}\\z");
def check_ids:
  if (.candidate.id | is_id | not) then
    {fail: "invalid", message: "the candidate's external id is not a Greenhouse candidate id: those are numbers"}
  elif .job != null and (.job | is_id | not) then
    {fail: "configuration", message: "job \"\(.job)\" is not a Greenhouse job id: those are numbers"}
  else null
  end;

# ---- the application

def ask_applications: ask_list("applications"; "applications"; {candidate_ids: .candidate.id, job_ids: .job});
# One in process, else the newest; null.
def application:
  rows("applications")
  | ([.[] | select(.status == "in_process")] | max_by(.id)) // max_by(.id);
def no_application:
  if application == null then
    {fail: "not_found", message: "candidate \(.candidate.id) has no application on job \(.job) in Greenhouse"}
  else null
  end;

# ---- stage

def ask_current: ask_list("current"; "application_stages"; {application_ids: application.id, current: "true"});
def current: first((rows("current")[] | select(.current != false)), null);

def stages_query: {job_ids: .job, active: "true"};
def target: find_row(rows("stages"); .write.stage);

def stage_name($id): first((rows("stages")[] | select(.id == $id) | .name), "stage \($id)");

def move:
  .write as $write
  | application as $application
  | target as $to
  | current as $now
  | ($write.only_from // []) as $from
  | if $now != null and $now.job_interview_stage_id == $to.id then {already: true}
    elif $now == null then
      {fail: "bad_answer", message: "Greenhouse does not say in which stage application \($application.id) is"}
    else
      stage_name($now.job_interview_stage_id) as $name
      | if $from == [] or any($from[]; (. | ascii_downcase) == ($name | ascii_downcase)
                                       or . == ($now.job_interview_stage_id | tostring)) then
          {request: {method: "POST", path: ["applications", $application.id, "move"],
                     body: {from_stage_id: (if .settings.move_from == "job_interview_stage"
                                            then $now.job_interview_stage_id else $now.id end),
                            to_stage_id: $to.id}}}
        else {skip: ("the candidate is in stage \"\($name)\", the mapping moves only from: " + ($from | join(", ")))}
        end
    end;

def stage:
  check_ids
  // ask_applications
  // no_application
  // (if application.status == "in_process" then null
      else {skip: "the application is \(application.status) in Greenhouse, only applications in process are moved"} end)
  // ask_catalogue("stages"; "job_interview_stages"; stages_query)
  // (if target == null then ask_again("stages"; "job_interview_stages"; stages_query) else null end)
  // (if target == null then
        {fail: "configuration",
         message: "there is no stage \"\(.write.stage)\" in job \(.job); it has: \(names(rows("stages")))"}
      else null end)
  // ask_current
  // move;

# ---- reject

def reason: find_row(rows("reasons"); .write.reason);
def reject:
  check_ids
  // ask_applications
  // no_application
  // (if application.status == "rejected" then {already: true}
      elif application.status == "in_process" then null
      else {skip: "the application is \(application.status) in Greenhouse, only applications in process are rejected"} end)
  // ask_catalogue("reasons"; "rejection_reasons"; {include_defaults: "true"})
  // (if reason == null then ask_again("reasons"; "rejection_reasons"; {include_defaults: "true"}) else null end)
  // (if reason == null then
        {fail: "configuration",
         message: "there is no rejection reason \"\(.write.reason)\"; Greenhouse has: \(names(rows("reasons")))"}
      else null end)
  // (.settings.rejection_email_template as $template
      | {request: {method: "POST", path: ["applications", application.id, "reject"],
                   body: ({rejection_reason_id: reason.id}
                          + (if $template == null then {}
                             else {rejection_email: {email_template_id: ($template | tonumber)}} end))}});

# ---- fields

def definitions: [rows("fields")[] | select(.field_type == null or .field_type == "candidate")];
def definition($name):
  first((definitions[] | select(.name_key == $name)), find_row(definitions; $name));

def missing_fields: . as $context | [.write.fields | keys[] | . as $name | select($context | definition($name) == null)];

# Definitions of what is written and of what is there and is sent back.
def involved:
  . as $context
  | definitions as $all
  | [.write.fields | keys[] as $name | $context | definition($name).name_key]
    + (if .settings.keep_other_fields == "true" then ((rows("candidate")[0].custom_fields // {}) | keys) else [] end)
  | unique
  | map(. as $key | $all[] | select(.name_key == $key));
def selects: [involved[] | select(.value_type == "single_select" or .value_type == "multi_select") | .id];

# The option's name as Greenhouse spells it, by its name or id; null.
def option($field):
  tostring as $wanted | [rows("options")[] | select(.custom_field_id == $field.id)] | find_row(.; $wanted).name;

# The number that a text is, with all its digits: one of over 15, or with an exponent, goes on as the engine wraps what a
# double cannot hold (U+10FFFF n). "nan" is none, although tonumber takes it.
def exact_number:
  "\udbff\udfffn" as $exact
  | if type == "number" then .
    elif type != "string" then error("no number")
    else
      ltrimstr($exact) | gsub("^\\s+|\\s+$"; "")
      | if test("\\A[-+]?[0-9]*[.]?[0-9]+\\z") and length <= 15 then tonumber
        elif test("\\A-?(0|[1-9][0-9]*)([.][0-9]+)?([eE][-+]?[0-9]+)?\\z") then $exact + .
        else error("no number")
        end
    end;

# A value as its field wants it, {error: …} if it cannot be.
def as_value($field):
  . as $value
  | $field.value_type as $type
  | if . == null then {value: null}
    elif $type == "yes_no" then
      (tostring | ascii_downcase)
      | if . == "true" or . == "yes" or . == "1" then {value: true}
        elif . == "false" or . == "no" or . == "0" then {value: false}
        else {error: "takes yes or no"} end
    elif $type == "number" then
      (try ($value | exact_number | {value: .}) catch {error: "takes a number"})
    elif $type == "date" then
      if type == "string" and test("^[0-9]{4}-[0-9]{2}-[0-9]{2}") then {value: .[:10]}
      else {error: "takes a date such as 2026-01-31"} end
    else null
    end;
def field_value($context; $field):
  . as $value
  | as_value($field)
  // (if $field.value_type == "single_select" then
        ($context | . as $c | $value | tostring as $w | $c
         | [rows("options")[] | select(.custom_field_id == $field.id)] as $options
         | find_row($options; $w) as $found
         | if $found == null then {error: "has no such option; it has: \(names($options))"} else {value: $found.name} end)
      elif $field.value_type == "multi_select" then
        ($context
         | [rows("options")[] | select(.custom_field_id == $field.id)] as $options
         | [$value | if type == "array" then .[] else . end | tostring as $w | find_row($options; $w).name] as $found
         | if any($found[]; . == null) then {error: "has no such option; it has: \(names($options))"}
           else {value: $found} end)
      elif ($value | type) == "object" or ($value | type) == "array" then {value: $value}
      else {value: ($value | tostring)}
      end);

def new_values:
  . as $context
  | [.write.fields | keys[] as $name
     | ($context | definition($name)) as $field
     | {name_key: $field.name_key, name: $name} + (.[$name] | field_value($context; $field))];

# What is there already, without what we write; empty values need not be sent back.
def other_values($new):
  . as $context
  | if .settings.keep_other_fields != "true" then []
    else
      [(rows("candidate")[0].custom_fields // {}) | keys[] as $key
       | (.[$key] | if type == "object" then .value else . end) as $value
       | select($value != null and all($new[]; .name_key != $key))
       | ($context | first((definitions[] | select(.name_key == $key)), null)) as $field
       | {name_key: $key,
          value: (if $field == null then $value
                  else ($value | field_value($context; $field)) | if has("value") then .value else $value end
                  end)}]
    end;

def write_fields:
  new_values as $new
  | ([$new[] | select(.error != null)] | .[0]) as $wrong
  | if $wrong != null then {fail: "invalid", message: "the field \"\($wrong.name)\" \($wrong.error)"}
    else
      {request: {method: "PATCH", path: ["candidates", .candidate.id],
                 body: {custom_fields: (other_values($new) + [$new[] | {name_key, value}])}}}
    end;

def fields:
  check_ids
  // ask_catalogue("fields"; "custom_fields"; {field_type: "candidate"})
  // (if missing_fields != [] then ask_again("fields"; "custom_fields"; {field_type: "candidate"}) else null end)
  // (if missing_fields != [] then
        {fail: "configuration",
         message: "there is no candidate field \"\(missing_fields[0])\"; Greenhouse has: \([definitions[].name_key] | join(", "))"}
      else null end)
  // (if .settings.keep_other_fields == "true" then
        ask_list("candidate"; "candidates"; {ids: .candidate.id})
      else null end)
  // (if .settings.keep_other_fields == "true" and rows("candidate") == [] then
        {fail: "not_found", message: "Greenhouse does not know candidate \(.candidate.id)"}
      else null end)
  // (if selects == [] then null
      else ask_catalogue("options"; "custom_field_options"; {custom_field_ids: (selects | map(tostring) | join(","))}) end)
  // write_fields;

# ---- tags: one at a time; it must exist before it can be applied

def tag: find_row(rows("tags"); .write.tags[0]) // (.got["new tag"].body | if type == "object" then . else null end);
def ask_applied: ask_list("applied"; "applied_candidate_tags"; {candidate_ids: .candidate.id});

def tags:
  check_ids
  // ask_catalogue("tags"; "candidate_tags"; {})
  // (if tag == null then ask_again("tags"; "candidate_tags"; {}) else null end)
  // (if tag == null and .got["new tag"] == null then
        {lookup: "new tag", write: true,
         request: {method: "POST", path: ["candidate_tags"], body: {name: .write.tags[0]}}}
      else null end)
  // (if tag.id == null then {fail: "bad_answer", message: "Greenhouse answered without the tag"} else null end)
  // ask_applied
  // (tag.id as $id
      | if any(rows("applied")[]; .candidate_tag_id == $id) then {already: true}
        else
          {request: {method: "POST", path: ["applied_candidate_tags"],
                     body: {candidate_id: (.candidate.id | tonumber), candidate_tag_id: $id}}}
        end);

# ---- note: on the application, where there is one

def note:
  check_ids
  // (if .job == null then null else ask_applications end)
  // {request: {method: "POST", path: ["notes"],
                body: ({candidate_id: (.candidate.id | tonumber),
                        body: .write.text,
                        visibility: .settings.note_visibility,
                        note_type: "NOTE",
                        user_id: (.settings.user_id | tonumber)}
                       + (if .job == null or application == null then {} else {application_id: application.id} end))}};

def find_marker:
  check_ids
  // ask_list("notes"; "notes"; {candidate_ids: .candidate.id})
  // (("[" + .write.marker + "]") as $mark
      | {found: any(rows("notes")[]; .body | type == "string" and contains($mark))});

# ---- what answers mean

# Where the candidate stood when we looked is not where it stands now; what else a move is refused for names the target.
def classify:
  if .status == 422 and .request.verb == "stage" and .request.is_write
     and (.body | tostring | test("to_stage") | not) then
    {outcome: "stale", message: "Greenhouse did not accept the move: the candidate is no longer in the stage that was read"}
  else null
  end;

def probe:
  if .got.stages == null then
    {lookup: "stages", request: {method: "GET", path: ["job_interview_stages"], query: {per_page: 1}}}
  else {already: true}
  end;
