# bullhorn - Bullhorn ATS, REST API.
#
# Base URL: "restUrl" of the login's answer, https://rest{N}.bullhornstaffing.com/rest-services/{corpToken}/: it depends
#   on the data centre and the corporation, and is taken from there.
# Auth: loginInfo tells the data centre of the API user; its OAuth server trades the refresh token for an access token
#   (10 minutes) and a new refresh token, each good for one use only; login trades the access token for the BhRestToken
#   that every call carries. A lost session shows as 401, a missing token as 412; neither call was carried out. A call
#   to the wrong data centre is answered with 307, which is followed within bullhornstaffing.com.
# Limits: 429 means: wait one second, then again; no header says so. The number is not published.
#
# Ids: .candidate.id is the Candidate's id (setting candidate_id: or its externalID), the job is the JobOrder's id.
#   Stage and rejection are the status of the JobSubmission of both.
# Sources: the vendor's REST API documentation (2026-03), entity reference, and Getting Started with REST, all read.
# Unverified: that the addresses in loginInfo's answer have no slash at their end; that the screening members are there
#   in every account (in the reference since 2025.10); the text of errors.
# Traps: PUT creates, POST changes. Custom fields are positional; customText takes 100 characters, dates are
#   milliseconds since 1970. The search index lags behind, so ids and notes are looked for in the database (query). A
#   status "New Lead" makes a submission a web response; Bullhorn advises to set dateAdded when one becomes a
#   submission, which is left to the account's own rules. Notes are HTML; they show at the candidate only if
#   commentingPerson and personReference are both given.

def meta: {
  name: "bullhorn",
  title: "Bullhorn",
  base_url: null,
  settings: {
    candidate_id: {
      default: "id",
      pattern: "id|external",
      help: "what the candidates' external ids are: the Candidate's id, or its externalID (external)"
    },
    user_id: {pattern: "[0-9]+", help: "the id of the Bullhorn user (CorporateUser) who writes our notes"},
    note_action: {default: "Other", pattern: ".{1,30}", help: "the action of our notes, one of the account's commentActionList"}
  },
  credentials: {
    username: {help: "the API user's name, from Bullhorn support"},
    client_id: {help: "from Bullhorn support, together with the API user"},
    client_secret: {help: "from Bullhorn support, together with the API user"},
    refresh_token: {help: "of the first authorization of the API user; later ones are kept by atsyncd, each works only once"}
  },
  auth: {
    kind: "chain",
    refresh_token: "{refresh_token}",
    steps: [
      {
        method: "GET",
        url: "https://rest.bullhornstaffing.com/rest-services/loginInfo",
        query: {username: "{username}"},
        captures: {oauth_url: "/oauthUrl", login_url: "/restUrl"}
      },
      {
        method: "POST",
        url: "{oauth_url}/token",
        form: {
          grant_type: "refresh_token",
          refresh_token: "{refresh_token}",
          client_id: "{client_id}",
          client_secret: "{client_secret}"
        },
        captures: {access_token: "/access_token", refresh_token: "/refresh_token"}
      },
      {
        method: "POST",
        url: "{login_url}/login",
        query: {version: "*", access_token: "{access_token}"},
        captures: {session: "/BhRestToken", rest_url: "/restUrl"}
      }
    ],
    name: "BhRestToken",
    value: "{session}",
    base_url: "{rest_url}",
    invalid_statuses: [412]
  },
  hosts: ["*.bullhornstaffing.com"],
  redirects: ["*.bullhornstaffing.com"],
  concurrency: 4,
  timeout_ms: 60000,
  throttle_ms: 1000,
  capabilities: {
    stage: {needs_job: true, only_from: true},
    reject: {needs_job: true},
    fields: {batch: true, pattern: "((Candidate|JobSubmission)\\.)?[A-Za-z][A-Za-z0-9]*"},
    note: {max_chars: 30000, find_marker: true, shown_as: "html"},
    assessment: {needs_job: true, max_chars: 255}
  },
  classify: true,
  probe: true,
  notes: [
    "The candidate's external id must be the Candidate's id (or its externalID, see candidate_id), the workflow's job the id of the JobOrder.",
    "A stage is a status of the account's jobResponseStatusList; a rejection is one too, so the reason must name it, e.g. \"Candidate Rejected\".",
    "Fields are members of Candidate such as customText1, or of the submission with JobSubmission.customText1 (needs a job). customText is cut at 100 characters; dates may be written as 2026-01-31 or with a time.",
    "assessment fills screeningScore (a whole number), screeningStatus (100 characters) and screeningSummary (255 characters) of the submission.",
    "Bullhorn has no tags; use a custom field.",
    "A web response (status \"New Lead\") that is moved keeps its dateAdded.",
    "unverified: that the screening members are there in every account; they are in Bullhorn's reference since 2025.10."
  ]
};

def is_number_text: type == "string" and test("\\A[0-9]{1,15}\\z");

# ---- who it is

# Null once the candidate's id is known.
def candidate_lookup:
  if .settings.candidate_id != "external" then
    (if .candidate.id | is_number_text then null
     else {fail: "invalid", message: "the candidate's external id is not a number, so it is no id of Bullhorn"}
     end)
  elif (.candidate.id | test("['\\\\]")) then
    {
      fail: "invalid",
      message: "the candidate's external id has a quotation mark or backslash, so it cannot be looked for"
    }
  elif .got.candidate == null then
    {
      lookup: "candidate",
      list: ["data"],
      request: {
        method: "GET",
        path: ["query", "Candidate"],
        query: {where: "externalID='\(.candidate.id)' AND isDeleted=false", fields: "id", count: 2}
      }
    }
  elif (.got.candidate.body.data // []) == [] then
    {fail: "not_found", message: "no Candidate in Bullhorn has this externalID"}
  elif (.got.candidate.body.data | length) > 1 then
    {fail: "not_found", message: "more than one Candidate in Bullhorn has this externalID"}
  else null
  end;
def candidate_id:
  if .settings.candidate_id == "external" then .got.candidate.body.data[0].id else (.candidate.id | tonumber) end;

# Null once the submission is known.
def submission_lookup:
  candidate_lookup as $first
  | if $first != null then $first
    elif (.job | is_number_text | not) then
      {fail: "configuration", message: "the workflow's job is not a number, so it is no JobOrder of Bullhorn"}
    elif .got.submission == null then
      {
        lookup: "submission",
        list: ["data"],
        request: {
          method: "GET",
          path: ["query", "JobSubmission"],
          query: {
            where: "candidate.id=\(candidate_id) AND jobOrder.id=\(.job) AND isDeleted=false",
            fields: "id,status",
            count: 100
          }
        }
      }
    elif (.got.submission.body.data // []) == [] then
      {fail: "not_found", message: "the candidate has no submission for job \(.job)"}
    else null
    end;
# Of several the newest.
def submission: .got.submission.body.data | sort_by(.id) | last;

# ---- status

def statuses_lookup:
  {lookup: "statuses", cache: "15m", request: {method: "GET", path: ["settings", "jobResponseStatusList"]}};
def statuses:
  .got.statuses.body.jobResponseStatusList | if type == "array" then map(select(type == "string")) else [] end;
def pick($wanted):
  ($wanted | ascii_downcase) as $low
  | first((.[] | select(. == $wanted)), (.[] | select(ascii_downcase == $low)), null);

def update($entity; $id; $body): {request: {method: "POST", path: ["entity", $entity, $id], body: $body}};

def set_status($wanted; $from):
  submission_lookup as $first
  | if $first != null then $first
    elif .got.statuses == null then statuses_lookup
    elif (.got.statuses.body | type != "object" or (.jobResponseStatusList | type) != "array") then
      {fail: "bad_answer", message: "Bullhorn answered without the list of submission statuses"}
    else
      submission as $submission
      | (statuses | pick($wanted)) as $to
      | if $to == null then
          {
            fail: "configuration",
            message: "there is no submission status \"\($wanted)\" in Bullhorn; it has: \(statuses | join(", "))"
          }
        elif $submission.status == $to then {already: true}
        elif ($from | length) > 0
             and (any($from[]; ascii_downcase == (($submission.status // "none") | ascii_downcase)) | not)
        then
          {
            skip: ("the submission is in "
                   + (if $submission.status == null then "no status" else "status \"\($submission.status)\"" end)
                   + ", the mapping moves only from: " + ($from | join(", ")))
          }
        else update("JobSubmission"; $submission.id; {status: $to})
        end
    end;

def stage: set_status(.write.stage; .write.only_from // []);
def reject: set_status(.write.reason; []);

# ---- fields: by their names Bullhorn tells what they hold

def milliseconds:
  (capture("^(?<date>[0-9]{4}-[0-9]{2}-[0-9]{2})(T(?<time>[0-9]{2}:[0-9]{2}(:[0-9]{2})?)(\\.[0-9]+)?(Z|[+]00:00)?)?$")
   | (.time // "00:00:00") as $time
   | .date + "T" + (if ($time | length) == 5 then $time + ":00" else $time end) + "Z"
   | fromdateiso8601 * 1000);

# "nan" and "infinity" are none, although tonumber takes them.
def is_number: test("\\A[-+]?[0-9]*[.]?[0-9]+([eE][-+]?[0-9]+)?\\z");

# {value} as the field wants it, or {wrong: "why"}.
def value_for($name; $value):
  if $value == null then {value: null}
  elif ($name | test("^(customDate[0-9]+|date[A-Z].*)$")) then
    (if ($value | type) == "number" then {value: $value}
     else
       ($value | tostring | [milliseconds?]) as $time
       | if $time == [] then {wrong: "takes a date such as 2026-01-31"} else {value: $time[0]} end
     end)
  elif ($name | test("^custom(Int|Float)[0-9]+$")) then
    (if ($value | type) == "boolean" then {value: (if $value then 1 else 0 end)}
     else
       ($value | tostring | gsub("^\\s+|\\s+$"; "") | [select(is_number) | tonumber]) as $number
       | if $number == [] then {wrong: "takes a number"}
         elif ($name | startswith("customInt")) then {value: ($number[0] | floor)}
         else {value: $number[0]}
         end
     end)
  elif ($name | test("^custom(Text|EncryptedText)[0-9]+$")) then
    {value: ($value | tostring | if length > 100 then .[0:99] + "…" else . end)}
  elif ($name | test("^customTextBlock[0-9]+$")) then {value: ($value | tostring)}
  else {value: $value}
  end;

# {Candidate: {…}, JobSubmission: {…}}, or {fail, message}.
def by_entity($fields):
  [
    $fields | to_entries[] as $entry
    | ($entry.key | split(".")) as $parts
    | ($parts | last) as $name
    | {entity: (if ($parts | length) == 2 then $parts[0] else "Candidate" end), name: $name}
      + value_for($name; $entry.value)
  ]
  | (map(select(.wrong)) | first) as $bad
  | if $bad != null then {fail: "invalid", message: "field \"\($bad.name)\" of Bullhorn \($bad.wrong)"}
    else reduce .[] as $field ({}; .[$field.entity][$field.name] = $field.value)
    end;

def fields:
  by_entity(.write.fields) as $made
  | if $made.fail != null then $made
    elif $made.JobSubmission != null and .job == null then
      {fail: "configuration", message: "fields of JobSubmission need a job: give the workflow one"}
    else
      (if $made.JobSubmission != null then submission_lookup else candidate_lookup end) as $first
      | if $first != null then $first
        elif $made.Candidate == null then update("JobSubmission"; submission.id; $made.JobSubmission)
        elif $made.JobSubmission != null and .got["submission's fields"] == null then
          {lookup: "submission's fields", write: true} + update("JobSubmission"; submission.id; $made.JobSubmission)
        else update("Candidate"; candidate_id; $made.Candidate)
        end
    end;

# ---- notes: HTML

def note:
  candidate_lookup as $first
  | if $first != null then $first
    elif .job != null and (.job | is_number_text | not) then
      {fail: "configuration", message: "the workflow's job is not a number, so it is no JobOrder of Bullhorn"}
    else
      {
        request: {
          method: "PUT",
          path: ["entity", "Note"],
          body: ({
            action: .settings.note_action,
            comments: .write.text,
            personReference: {id: candidate_id},
            commentingPerson: {id: (.settings.user_id | tonumber)},
            externalID: .write.marker[0:100]
          } + (if .job == null then {} else {jobOrder: {id: (.job | tonumber)}} end))
        }
      }
    end;

# Our mark is the note's externalID.
def find_marker:
  candidate_lookup as $first
  | if $first != null then $first
    elif .got.notes == null then
      {
        lookup: "notes",
        request: {
          method: "GET",
          path: ["query", "NoteEntity"],
          query: {
            where: ("targetEntityName='User' AND targetEntityID=\(candidate_id)"
                    + " AND note.externalID='" + (.write.marker[0:100] | gsub("'"; "''")) + "'"),
            fields: "id",
            count: 1
          }
        }
      }
    elif (.got.notes.body.data | type) != "array" then
      {
        fail: "bad_answer",
        message: "Bullhorn's list of notes is not a list"
      }
    else {found: (.got.notes.body.data != [])}
    end;

# ---- assessment

def assessment:
  submission_lookup as $first
  | if $first != null then $first
    else
      update("JobSubmission"; submission.id;
             ((if .write.score == null then {} else {screeningScore: (.write.score + 0.5 | floor)} end)
              + (if .write.status == null then {} else {screeningStatus: .write.status[0:100]} end)
              + {screeningSummary: .write.summary}))
    end;

def probe:
  if .got.session == null then {lookup: "session", request: {method: "GET", path: ["ping"]}} else {already: true} end;

# ---- what an answer means

def said: .body | if type == "object" and (.errorMessage | type) == "string" then .errorMessage else null end;

# 404 stands for an unknown record and, in a query, for an unknown field; no record in a query is an empty list.
def classify:
  if .status == 401 or .status == 412 then {outcome: "reauth", message: (said // "Bullhorn's session has ended")}
  elif .status == 404 and .request.method == "GET" and .request.lookup != null then
    {
      outcome: "config",
      class: "configuration",
      message: (said // "Bullhorn does not know something that was asked for")
    }
  elif .status == 400 and .request.is_write then
    {
      outcome: "invalid",
      message: (said // "Bullhorn does not accept this")
    }
  else null
  end;
