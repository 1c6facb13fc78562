# ashby - Ashby.
#
# Base URL   https://api.ashbyhq.com, one host.
# Auth       HTTP Basic, the API key as user name, no password.
# Style      every call is POST /object.verb with a JSON body, those that read included.
# Ids        the candidate's external id is Ashby's candidate id, or, by a setting, the external mapping id that the
#            customer gave the candidate. `job` is the job id; the application is looked for among the candidate's.
# Limits     429; no number is published.
# Sources    certain (the vendor's OpenAPI description): paths, bodies, error names, paging. Third-party clients: that
#            adding a tag twice succeeds, the interview plan of an application's stage.
# Traps      - HTTP 200 also carries failures: {"success": false, "errors": [names]}.
#            - Applications are not found by candidate and job in one call: each of the candidate's is asked for.
#            - Archiving needs a reason. An e-mail that goes with it, when it fails, leaves the stage as it was.
#            - Several fields go out in one setValues: single calls race each other.
#            - Making a tag with a title that exists gives the tag that exists.
# Example    connectors:
#   ashby:
#       type: ashby
#       credentials: {api_key: {credential: ashby}}

def meta: {
  name: "ashby",
  title: "Ashby",
  base_url: "https://api.ashbyhq.com",
  settings: {
    candidate_is: {default: "candidate", pattern: "candidate|external_mapping_id",
      help: "what the candidate's external id is: candidate (Ashby's id) or external_mapping_id"},
    archive_email_template: {required: false, pattern: "[0-9a-fA-F-]{36}",
      help: "the id of the communication template that a rejection sends to the candidate; without it no e-mail is sent"},
    archived_stage: {required: false, pattern: "[0-9a-fA-F-]{36}",
      help: "the id of the stage that a rejection moves to; without it the first stage of the type Archived is looked up"},
    send_notifications: {default: "false", pattern: "true|false",
      help: "true: Ashby notifies the users who follow the candidate about a note"}
  },
  credentials: {api_key: {help: "an API key made in Ashby: Admin, Integrations, API Keys"}},
  auth: {kind: "basic", username: "{api_key}", password: ""},
  rate: {count: 10, per_ms: 1000},
  concurrency: 4,
  timeout_ms: 30000,
  throttle_ms: 10000,
  classify: true,
  probe: true,
  capabilities: {
    stage: {needs_job: true, only_from: true},
    reject: {needs_job: true},
    fields: {batch: true},
    tags: {},
    note: {max_chars: 20000, find_marker: true, shown_as: "text"}
  },
  notes: [
    "Candidate and job ids are Ashby's UUIDs. An application in progress is taken before one that has ended.",
    "Of a candidate's applications the first 30 are looked at.",
    "The API key needs: candidatesRead, candidatesWrite, interviewsRead, jobsRead, hiringProcessMetadataRead; hiringProcessMetadataWrite only if tags are to be made that do not exist yet.",
    "Stages, reasons, fields and tags are given by name or id. Given by id they are not looked up; a field that is given by id and cannot be looked up is taken for one of the candidate, and its value is sent as it is.",
    "Archived and hired applications are not moved. A rejection archives with one of Ashby's archive reasons, and sends an e-mail only with the setting archive_email_template: Ashby sends it the next morning at 9:32, and if the e-mail cannot be sent the candidate is not archived.",
    "Fields are custom fields of the candidate, or else of the application (the workflow then needs a job), by title or id. A value cannot be cleared.",
    "Assessment results belong to Ashby's own assessment partner API: write a field or a note.",
    "unverified: the rate (10 a second), the greatest length of a note (cut at 20,000 characters)."
  ]
};

# What was answered; nothing, where it is not what Ashby answers.
def content: .body | if type == "object" then . else {} end;

# ---- asking

def call($name; $path; $body; $more):
  if .got[$name] == null then {lookup: $name, request: {method: "POST", path: [$path], body: $body}} + $more else null end;

# A list in pages, up to 20, or null once it is all there.
def call_list($name; $path; $body; $more):
  (.got[$name] // []) as $pages
  | ($pages | if . == [] then null else .[-1] | content end) as $last
  | if $pages == [] then
      {lookup: $name, append: true, list: ["results"], request: {method: "POST", path: [$path], body: $body}} + $more
    elif $last.moreDataAvailable == true and $last.nextCursor != null and ($pages | length) < 20 then
      {lookup: $name, append: true, list: ["results"],
       request: {method: "POST", path: [$path], body: ($body + {cursor: $last.nextCursor})}} + $more
    else null
    end;
# A list that rarely changes: kept, and asked for once more before something counts as missing in it.
def call_kept($name; $path; $body): call_list($name; $path; $body; {cache: "15m"});
def call_again($name; $path; $body): call_list($name + " again"; $path; $body; {});

def rows($name):
  [(.got[$name + " again"] // .got[$name] // [])[] | content.results | if type == "array" then .[] | objects else empty end];

def name: .title // .text // .label;
# The row that is meant: by its id, by its exact name, else by its name in any case; null.
def find_row($rows; $wanted):
  ($wanted | ascii_downcase) as $small
  | first(($rows[] | select(.id == $wanted)),
          ($rows[] | select(name == $wanted)),
          ($rows[] | select((name // "" | ascii_downcase) == $small)),
          null);
def names($rows): if ($rows | length) == 0 then "none" else [$rows[] | name // ""] | join(", ") end;

# An id needs no list: fewer calls, and a key that may not read the lists will do.
def is_id: test("\\A[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\\z");
def unless_id($wanted; step): if $wanted | is_id then null else step end;
def find_or_id($rows; $wanted): find_row($rows; $wanted) // (if $wanted | is_id then {id: $wanted} else null end);

# ---- candidate and application

def by_mapping: .settings.candidate_is == "external_mapping_id";
def candidate: .got.candidate | content.results;
def candidate_id: if by_mapping then candidate.id else .candidate.id end;
def ask_candidate:
  call("candidate"; "candidate.info";
       (if by_mapping then {externalMappingId: .candidate.id} else {id: .candidate.id} end); {})
  // (if (candidate | type) != "object" then
        {fail: "bad_answer", message: "Ashby answered without the candidate"} else null end);
def ask_candidate_id: if by_mapping then ask_candidate else null end;

def applications: # on the job, as far as they are known
  . as $c | [(candidate.applicationIds // [])[] | $c.got["application/" + .] | content.results | objects | select(.job.id == $c.job)];
def application: applications | first((.[] | select(.status == "Active")), .[-1]);
def ask_application:
  . as $c
  | ask_candidate
  // (if application.status == "Active" then null
      else
        first(((candidate.applicationIds // [])[:30][]
               | . as $id | $c | call("application/" + $id; "application.info"; {applicationId: $id}; {record: ["results"]}) | select(. != null)),
              null)
      end)
  // (if application == null then
        {fail: "not_found", message: "candidate \(.candidate.id) has no application on job \(.job) in Ashby"}
      else null end);

# ---- stages: those of the interview plan that the application is in

def plan: application.currentInterviewStage.interviewPlanId // (.got.job | content.results | objects | .defaultInterviewPlanId) // null;
def stages: [.got["stages again"], .got.stages | select(. != null) | content.results | arrays][0] // [];
def ask_stages($name; $more):
  (if plan == null then call("job"; "job.info"; {id: .job}; {record: ["results"]}) else null end)
  // (if plan == null then
        {fail: "bad_answer", message: "Ashby does not say which interview plan job \(.job) has"} else null end)
  // call($name; "interviewStage.list"; {interviewPlanId: plan}; $more + {list: ["results"]});

def target: find_or_id(stages; .write.stage);
def ended: application.status == "Archived" or application.status == "Hired";

def stage:
  ask_application
  // (if ended then {skip: "the application is \(application.status) in Ashby, only others are moved"} else null end)
  // unless_id(.write.stage; ask_stages("stages"; {cache: "15m"}))
  // (if target == null then ask_stages("stages again"; {}) else null end)
  // (if target == null then
        {fail: "configuration", message: "there is no stage \"\(.write.stage)\" in job \(.job); it has: \(names(stages))"}
      elif target.type == "Archived" then
        {fail: "configuration", message: "\"\(target.title)\" archives the candidate, which needs a reason: use reject"}
      else null end)
  // ((.write.only_from // []) as $from
      | application.currentInterviewStage as $now
      | if $now.id == target.id then {already: true}
        elif $from == []
             or any($from[]; . == $now.id or (ascii_downcase == ($now.title // "none" | ascii_downcase))) then
          {request: {method: "POST", path: ["application.changeStage"],
                     body: {applicationId: application.id, interviewStageId: target.id}}}
        else
          {skip: ("the candidate is in "
                  + (if $now == null then "no stage" else "stage \"\($now.title)\"" end)
                  + ", the mapping moves only from: " + ($from | join(", ")))}
        end);

# ---- reject

def reasons: [rows("reasons")[] | select(.isArchived != true)];
def reason: find_or_id(reasons; .write.reason);
def archived_stage:
  if .settings.archived_stage != null then {id: .settings.archived_stage}
  else first((stages[] | select(.type == "Archived")), null)
  end;

def reject:
  ask_application
  // (if application.status == "Archived" then {already: true}
      elif application.status == "Hired" then
        {skip: "the application is Hired in Ashby and is not archived"}
      else null end)
  // unless_id(.write.reason; call_kept("reasons"; "archiveReason.list"; {}))
  // (if reason == null then call_again("reasons"; "archiveReason.list"; {}) else null end)
  // (if reason == null then
        {fail: "configuration",
         message: "there is no archive reason \"\(.write.reason)\"; Ashby has: \(names(reasons))"}
      else null end)
  // (if .settings.archived_stage != null then null else ask_stages("stages"; {cache: "15m"}) end)
  // (if archived_stage == null then ask_stages("stages again"; {}) else null end)
  // (if archived_stage == null then
        {fail: "configuration", message: "the interview plan of job \(.job) has no stage that archives"}
      else
        {request: {method: "POST", path: ["application.changeStage"],
                   body: ({applicationId: application.id, interviewStageId: archived_stage.id, archiveReasonId: reason.id}
                          + (if .settings.archive_email_template == null then {}
                             else {archiveEmail: {communicationTemplateId: .settings.archive_email_template}} end))}}
      end);

# ---- fields

def fields_of($type): [rows("fields")[] | select(.objectType == $type and .isArchived != true)];
def definition($name):
  find_row(fields_of("Candidate"); $name) // find_row(fields_of("Application"); $name)
  // (if $name | is_id then {id: $name, objectType: "Candidate"} else null end);
def unknown_fields: . as $c | [.write.fields | keys[] | . as $name | select($c | definition($name) == null)];

def option($field): tostring as $wanted
  | [($field.selectableValues // [])[] | {id: .value, title: .label, value: .value}] as $all
  | find_row($all; $wanted).value;

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

# {value: …} as the field's type wants it, {error: …} if it cannot be.
def typed($field):
  . as $value
  | $field.fieldType as $type
  | if . == null then {error: "cannot be cleared through Ashby's API"}
    elif $type == null then {value: .}
    elif $type == "Boolean" then
      (tostring | ascii_downcase)
      | if . == "true" or . == "yes" or . == "1" then {value: true}
        elif . == "false" or . == "no" or . == "0" then {value: false}
        else {error: "takes yes or no"} end
    elif $type == "Number" then
      (try ($value | exact_number | {value: .}) catch {error: "takes a number"})
    elif $type == "Date" then
      if type == "string" and test("^[0-9]{4}-[0-9]{2}-[0-9]{2}") then {value: .}
      else {error: "takes a date such as 2026-01-31"} end
    elif $type == "ValueSelect" and $field.selectableValues != null then
      option($field) as $found
      | if $found == null then {error: "has no such value; it has: \(names($field.selectableValues))"} else {value: $found} end
    elif $type == "MultiValueSelect" then
      [(if type == "array" then .[] else . end) | if $field.selectableValues != null then option($field) else tostring end] as $found
      | if any($found[]; . == null) then {error: "has no such value; it has: \(names($field.selectableValues))"}
        else {value: $found} end
    elif $type == "Currency" or $type == "NumberRange" or $type == "CompensationRange" then
      if type == "object" then {value: .} else {error: "takes an object, as Ashby's API describes it"} end
    elif type == "array" then {value: ([.[] | tostring] | join(", "))}
    else {value: tostring}
    end;

def typed_fields:
  . as $c
  | [.write.fields | keys[] as $name
     | ($c | definition($name)) as $field
     | {name: $name, objectType: $field.objectType, fieldId: $field.id} + (.[$name] | typed($field))];
def set_values($all; $type; $id):
  {method: "POST", path: ["customField.setValues"],
   body: {objectId: $id, objectType: $type,
          values: [$all[] | select(.objectType == $type) | {fieldId, fieldValue: .value}]}};

def write_fields:
  typed_fields as $all
  | ([$all[] | select(.error != null)] | .[0]) as $wrong
  | any($all[]; .objectType == "Application") as $on_application
  | any($all[]; .objectType == "Candidate") as $on_candidate
  | if $wrong != null then {fail: "invalid", message: "the field \"\($wrong.name)\" \($wrong.error)"}
    elif $on_application and .job == null then
      {fail: "configuration", message: "a field of the application is mapped: the workflow needs a job"}
    elif $on_application then
      ask_application
      // (if $on_candidate and .got["fields of the candidate"] == null then
            {lookup: "fields of the candidate", write: true, request: set_values($all; "Candidate"; candidate_id)}
          else {request: set_values($all; "Application"; application.id)} end)
    else {request: set_values($all; "Candidate"; candidate_id)}
    end;

def fields:
  ask_candidate_id
  // call_list("fields"; "customField.list"; {limit: 100};
               {cache: "15m"} + (if all(.write.fields | keys[]; is_id) then {expect: [403, 404]} else {} end))
  // (if unknown_fields != [] then call_again("fields"; "customField.list"; {limit: 100}) else null end)
  // (if unknown_fields != [] then
        {fail: "configuration",
         message: "there is no custom field \"\(unknown_fields[0])\" of candidates or applications; Ashby has: \(names(fields_of("Candidate") + fields_of("Application")))"}
      else null end)
  // write_fields;

# ---- tags: one at a time; it must exist before it can be added

def tag: find_or_id([rows("tags")[] | select(.isArchived != true)]; .write.tags[0]) // (.got["new tag"] | content.results | if type == "object" then . else null end);
def tags:
  ask_candidate_id
  // unless_id(.write.tags[0]; call_kept("tags"; "candidateTag.list"; {limit: 100}))
  // (if tag == null and .got["new tag"] == null then
        {lookup: "new tag", write: true,
         request: {method: "POST", path: ["candidateTag.create"], body: {title: .write.tags[0]}}}
      else null end)
  // (if tag.id == null then {fail: "bad_answer", message: "Ashby answered without the tag"}
      else
        {request: {method: "POST", path: ["candidate.addTag"], body: {candidateId: candidate_id, tagId: tag.id}}}
      end);

# ---- note

def note:
  ask_candidate_id
  // {request: {method: "POST", path: ["candidate.createNote"],
                body: {candidateId: candidate_id, note: {type: "text/plain", value: .write.text},
                       sendNotifications: (.settings.send_notifications == "true")}}};

def find_marker:
  ask_candidate_id
  // call_list("notes"; "candidate.listNotes"; {candidateId: candidate_id, limit: 100}; {})
  // (("[" + .write.marker + "]") as $mark
      | {found: any(rows("notes")[]; .content | type == "string" and contains($mark))});

# ---- what answers mean

def error_names:
  [(.errors // [])[] | if type == "string" then . else .message // .code // empty end]
  + [.errorInfo.code // empty];

def classify:
  if .status == 200 and (.body | type) == "object" and .body.success == false then
    (.body | error_names) as $names
    | ($names | join(" ")) as $all
    | ("Ashby: " + (if $names == [] then "it failed and does not say why" else $names | unique | join(", ") end)) as $message
    | if $all | test("(candidate|application)_not_found") then {outcome: "not_found", class: "not_found", message: $message}
      elif $all | test("permission|unauthori[sz]ed|forbidden") then {outcome: "config", class: "permission", message: $message}
      elif $all | test("_not_found|_not_allowed") then {outcome: "config", class: "configuration", message: $message}
      elif $all | test("rate_?limit|too_many") then {outcome: "throttled", message: $message}
      elif $all | test("internal|unexpected|timeout|temporar") then {outcome: "retry", class: "unavailable", message: $message}
      else {outcome: "invalid", class: "invalid", message: $message}
      end
  else null
  end;

def probe: call("key"; "apiKey.info"; {}; {}) // {already: true};
