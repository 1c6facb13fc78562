# jobadder - JobAdder, API v2.
#
# Base URL: the member "api" of the answer that brings the access token, e.g. https://api.jobadder.com/v2. It depends on
#   the instance of the account, so it is taken from there; the one below is only for a configuration without it.
# Auth: OAuth 2, authorization code, https://id.jobadder.com/connect/{authorize,token}; client id and secret in the
#   form; there are no client credentials. The scope must contain offline_access. Access tokens live for 60 minutes;
#   each answer brings a new refresh token and the old one is void.
# Limits: per account, the number is not published; 429 with Retry-After in seconds means: stop all calls until then.
#
# Ids: .candidate.id is the candidateId, the job is the jobId. Stage and rejection belong to the application of both.
# Sources: the vendor's OpenAPI document of API v2 (2024-09), read; API Throttling in the vendor's help centre, read.
# Unverified: whether custom fields that a PUT does not name keep their values (the document requires none of them, so
#   only those that change are sent); that a single choice of a list field is written as a list of one.
# Traps: 202 instead of 200 on a change of status: the application had it already. List items of notes have only the
#   first part of their text, so our mark is looked for in "reference".

def meta: {
  name: "jobadder",
  title: "JobAdder",
  base_url: "https://api.jobadder.com/v2",
  settings: {
    reject_status: {
      required: false,
      help: "the application status that every rejection sets; the mapping's reason is then its note. Without it the reason in the mapping must itself be the name of a rejected status"
    },
    note_type: {required: false, pattern: ".{1,50}", help: "the type of our notes, one of the account's note types"},
    rating_scale: {
      required: false,
      pattern: "[1-9][0-9]*",
      help: "assessment: the score that is worth the full rating of 10; without it no rating is written"
    },
    score_field: {required: false, help: "assessment: the custom field of applications for the score"},
    status_field: {required: false, help: "assessment: the custom field of applications for the result"},
    summary_field: {required: false, help: "assessment: the custom field of applications for the summary"}
  },
  credentials: {
    client_id: {help: "from JobAdder's developer portal, your application"},
    client_secret: {help: "from JobAdder's developer portal, your application"},
    refresh_token: {help: "of the first authorization, with the scopes read, write and offline_access; later ones are kept by atsyncd"}
  },
  auth: {
    kind: "oauth2_refresh_token",
    token_url: "https://id.jobadder.com/connect/token",
    client_id: "{client_id}",
    client_secret: "{client_secret}",
    client_auth: "body",
    refresh_token: "{refresh_token}",
    captures: {api: "/api"},
    base_url: "{api}"
  },
  hosts: ["*.jobadder.com"],
  concurrency: 4,
  timeout_ms: 60000,
  capabilities: {
    stage: {needs_job: true, only_from: true},
    reject: {needs_job: true},
    fields: {batch: true},
    tags: {batch: true},
    note: {max_chars: 30000, find_marker: true},
    assessment: {needs_job: true, max_chars: 4000}
  },
  classify: true,
  probe: true,
  notes: [
    "The candidate's external id must be JobAdder's candidateId, the workflow's job its jobId; both are numbers.",
    "A stage is a status of job applications, by name or number.",
    "Fields are custom fields of candidates, by name or number. List fields take one of their values or a list of them.",
    "Tags are the candidate's skill tags, at most 100; those that are there stay.",
    "assessment needs rating_scale or at least one of score_field, status_field, summary_field.",
    "unverified: that custom fields of a candidate that are not written keep their values.",
    "unverified: that a single choice of a list field is written as a list of one.",
    "unverified: the longest note that JobAdder takes; atsyncd cuts at 30000 characters."
  ]
};

# ---- lists

def page_size: 100;
def pages_max: 10;

# The one that has this id or name: the name exactly, else whatever the case of its letters; null if there is none.
def pick($wanted; id; name):
  ($wanted | ascii_downcase) as $low
  | first((.[] | select((id | tostring) == $wanted)),
          (.[] | select(name == $wanted)),
          (.[] | select((name | type) == "string" and (name | ascii_downcase) == $low)),
          null);
def names(name): map(name | select(type == "string")) | join(", ");

def items_of($lookup): [(.got[$lookup] // [])[].body.items[]?];
# Whether all pages of a lookup are there: the vendor says how many items there are.
def is_whole($lookup):
  (.got[$lookup] // []) as $pages
  | ($pages | length) > 0
    and (($pages | length) >= pages_max
         or (($pages | last | .body.items // []) | length) == 0
         or ([$pages[].body.items[]?] | length) >= ($pages | last | .body.totalCount // 0));

# ---- the application of the candidate for the job

def of_candidate: ["candidates", .candidate.id];

def applications_page:
  {
    lookup: "applications",
    append: true,
    list: ["items"],
    request: {
      method: "GET",
      path: (of_candidate + ["applications"]),
      query: {offset: (items_of("applications") | length), limit: page_size}
    }
  };
# Of several the one that is not rejected, of these the newest.
def application:
  .job as $job
  | [items_of("applications")[] | select((.job.jobId | tostring) == $job)]
  | sort_by([(.status.rejected != true), .applicationId]) | last;
def no_application: {fail: "not_found", message: "the candidate has no application for job \(.job)"};

# ---- statuses

def statuses_lookup:
  {lookup: "statuses", list: ["items"], cache: "15m", request: {method: "GET", path: ["applications", "lists", "status"]}};
def statuses: [.got.statuses.body.items[]?];
def status_named($name): statuses | pick($name; .statusId; .name);

def set_status($application; $status; $note):
  {
    request: {
      method: "PUT",
      path: ["applications", $application.applicationId, "status"],
      body: ({statusId: $status.statusId} + (if $note == null then {} else {note: $note} end))
    }
  };

def stage:
  if (is_whole("applications") | not) then applications_page
  elif application == null then no_application
  elif .got.statuses == null then statuses_lookup
  else
    application as $application
    | status_named(.write.stage) as $to
    | $application.status as $now
    | (.write.only_from // []) as $from
    | if $to == null then
        {
          fail: "configuration",
          message: "there is no application status \"\(.write.stage)\" in JobAdder; it has: \(statuses | names(.name))"
        }
      elif $now.statusId == $to.statusId then {already: true}
      elif ($from | length) > 0
           and ([$from[] as $name | [$now | select(. != null)] | pick($name; .statusId; .name)] | all(. == null))
           and (($now == null and any($from[]; . == "none")) | not)
      then
        {
          skip: ("the application is in "
                 + (if $now == null then "no status" else "status \"\($now.name)\"" end)
                 + ", the mapping moves only from: " + ($from | join(", ")))
        }
      else set_status($application; $to; null)
      end
  end;

def reject:
  if (is_whole("applications") | not) then applications_page
  elif application == null then no_application
  elif .got.statuses == null then statuses_lookup
  else
    application as $application
    | (.settings.reject_status // .write.reason) as $name
    | ([statuses[] | select(.rejected)] | pick($name; .statusId; .name)) as $to
    | if $to == null then
        {
          fail: "configuration",
          message: ("there is no rejected application status \"\($name)\" in JobAdder; it has: "
                    + ([statuses[] | select(.rejected)] | names(.name)))
        }
      elif $application.status.statusId == $to.statusId then {already: true}
      elif .settings.reject_status != null then
        {text: .write.reason} as $note
        | set_status($application; $to;
                     ($note + (if .settings.note_type == null then {} else {type: .settings.note_type} end)))
      else set_status($application; $to; null)
      end
  end;

# ---- custom fields

def definitions_lookup($of):
  {lookup: "definitions", list: ["items"], cache: "15m", request: {method: "GET", path: [$of, "fields", "custom"]}};
def definitions: [.got.definitions.body.items[]?];
def cut($max): if $max != null and length > $max and $max > 1 then .[0:($max - 1)] + "…" else . end;

# One of a list field's own values, whatever the case of its letters.
def listed($field; $value):
  ($value | tostring) as $text
  | (if ($field.values // []) == [] then $text else ($field.values | pick($text; .; .)) end);

# {fieldId, value} as the field's type wants it, or {wrong: "why"}.
def custom_value($field; $value):
  if $value == null then {fieldId: $field.fieldId, value: null}
  elif $field.type == "List" then
    [($value | if type == "array" then .[] else . end) as $v | listed($field; $v)] as $listed
    | if any($listed[]; . == null)
      then {wrong: "field \"\($field.name)\" takes only: \(($field.values // []) | join(", "))"}
      elif ($listed | length) > 1 and $field.multiSelect != true
      then {wrong: "field \"\($field.name)\" takes only one value"}
      else {fieldId: $field.fieldId, value: $listed}
      end
  elif $field.type == "Date" then
    ($value | tostring) as $text
    | if ($text | test("^[0-9]{4}-[0-9]{2}-[0-9]{2}($|T)")) then {fieldId: $field.fieldId, value: $text[0:10]}
      else {wrong: "field \"\($field.name)\" takes a date such as 2026-01-31"}
      end
  else {fieldId: $field.fieldId, value: ($value | tostring | cut($field.maxLength))}
  end;

# {custom: [...]} for an object of names and values, or {fail, message}.
def custom_or_fail($values; $definitions; $whose):
  [
    $values | to_entries[] as $entry
    | ($definitions | pick($entry.key; .fieldId; .name)) as $field
    | if $field == null then {missing: $entry.key} else custom_value($field; $entry.value) end
  ]
  | (map(.missing // empty) | first) as $missing
  | (map(.wrong // empty) | first) as $wrong
  | if $missing != null then
      {
        fail: "configuration",
        message: "there is no custom field \"\($missing)\" of \($whose) in JobAdder; it has: \($definitions | names(.name))"
      }
    elif $wrong != null then {fail: "invalid", message: $wrong}
    else {custom: .}
    end;

def fields:
  if .got.definitions == null then
    definitions_lookup("candidates")
  else
    custom_or_fail(.write.fields; definitions; "candidates") as $made
    | if $made.custom == null then $made
      else {request: {method: "PUT", path: of_candidate, body: $made}}
      end
  end;

# ---- skill tags: a PUT sets all of them

def tags:
  if .got.candidate == null then {lookup: "candidate", request: {method: "GET", path: of_candidate}}
  elif (.got.candidate.body | type != "object" or .candidateId == null) then
    {fail: "bad_answer", message: "JobAdder answered without the candidate, so that the tags that are there are not known"}
  else
    (.got.candidate.body.skillTags // []) as $there
    | (reduce .write.tags[] as $tag
         ($there; if any(.[]; ascii_downcase == ($tag | ascii_downcase)) then . else . + [$tag] end)) as $all
    | if ($all | length) == ($there | length) then {already: true}
      elif ($all | length) > 100 then
        {fail: "invalid", message: "the candidate would have \($all | length) skill tags, JobAdder allows 100"}
      else {request: {method: "PUT", path: of_candidate, body: {skillTags: $all}}}
      end
  end;

# ---- notes

def note:
  if .job != null and (is_whole("applications") | not) then applications_page
  else
    (if .job == null then null else application end) as $application
    | {
        request: {
          method: "POST",
          path: (of_candidate + ["notes"]),
          body: (
            {text: .write.text, createdByIntegration: true, reference: .write.marker}
            + (if .settings.note_type == null then {} else {type: .settings.note_type} end)
            + (if $application == null then {} else {applicationId: [$application.applicationId]} end))
        }
      }
  end;

def find_marker:
  if (is_whole("notes") | not) then
    {
      lookup: "notes",
      append: true,
      list: ["items"],
      request: {
        method: "GET",
        path: (of_candidate + ["notes"]),
        query: {Reference: .write.marker, Offset: (items_of("notes") | length), Limit: page_size}
      }
    }
  else .write.marker as $marker | {found: any(items_of("notes")[]; .reference == $marker)}
  end;

# ---- assessment: the rating and custom fields of the application

def assessment_values:
  [
    [.settings.score_field, .write.score], [.settings.status_field, .write.status],
    [.settings.summary_field, .write.summary]
  ]
  | map(select(.[0] != null) | {key: .[0], value: .[1]}) | from_entries;
def rating:
  if .settings.rating_scale == null or .write.score == null then null
  else
    (.write.score * 10 / (.settings.rating_scale | tonumber) + 0.5 | floor)
    | if . < 0 then 0 elif . > 10 then 10 else . end
  end;

def assessment:
  assessment_values as $values
  | if .settings.rating_scale == null and $values == {} then
      {
        fail: "configuration",
        message: "the connector's settings name no place for an assessment: set rating_scale, score_field, status_field or summary_field"
      }
    elif $values == {} and .write.score == null then {skip: "there is no score to write", class: "nothing"}
    elif (is_whole("applications") | not) then applications_page
    elif application == null then no_application
    elif $values != {} and .got.definitions == null then
      definitions_lookup("applications")
    else
      application as $application
      | rating as $rating
      | custom_or_fail($values; definitions; "applications") as $made
      | if $made.custom == null then $made
        else
          {
            request: {
              method: "PUT",
              path: ["applications", $application.applicationId],
              body: ((if $rating == null then {} else {rating: $rating} end)
                     + (if $made.custom == [] then {} else $made end))
            }
          }
        end
    end;

def probe:
  if .got.user == null then {lookup: "user", request: {method: "GET", path: ["users", "current"]}}
  else {already: true}
  end;

# ---- what an answer means

def said:
  .body as $body
  | if ($body | type) != "object" then null
    else
      [$body.message, ($body.errors[]? | select(type == "object")
                       | [.message, ((.fields // []) | join(", "))] | map(select(. != null and . != "")) | join(": "))]
      | map(select(type == "string" and . != "")) | if length == 0 then null else join("; ") end
    end;

def classify:
  if .status == 202 and .request.method == "PUT" then {outcome: "already"}
  elif .status == 409 then {outcome: "invalid", message: (said // "JobAdder has such a record already")}
  elif .status == 422 then {outcome: "invalid", message: (said // "JobAdder does not accept this")}
  else null
  end;
