# merge - Merge, the unified ATS API: one interface to some fifty ATSs.
#
# Base URL: https://api.merge.dev/api/ats/v1; EU api-eu.merge.dev, Asia-Pacific api-ap.merge.dev: setting "host".
# Auth: Authorization: Bearer KEY, and X-Account-Token of the linked account (one customer's ATS).
# Limits: by plan 100, 400 or 600 requests a minute for each linked account; more than 20 failing answers within 10 s
#   put the caller's address under a penalty, for all accounts. Hence a low rate; the breaker does the rest.
#
# Ids: Merge has UUIDs of its own beside the ids of the ATS ("remote_id"). With the setting ids = remote (the default)
#   candidate and job of the mapping are those of the ATS and are looked up; with merge they are the UUIDs.
# Sources: the vendor's OpenAPI 3.1 document of the ATS API, read; help centre and the page on rate limits, read.
# Unverified: which problem_type values there are in errors[] of a 2xx answer: every one counts as a refusal.
# Traps: 2xx answers carry errors[] and warnings[]: errors mean that the ATS refused. change-stage is marked Beta. What
#   can be read is Merge's copy of the ATS, as old as the last synchronization: a tag that somebody set since is not in
#   it, and tags are written as a whole. There is no call that rejects; activities cannot be listed by candidate, so
#   there is no way to find our own note again. Scorecards can only be read.

def meta: {
  name: "merge",
  title: "Merge (unified ATS API)",
  base_url: "https://{host}/api/ats/v1",
  settings: {
    host: {
      default: "api.merge.dev",
      pattern: "api(-eu|-ap)?\\.merge\\.dev",
      help: "api.merge.dev (US), api-eu.merge.dev or api-ap.merge.dev, where your Merge organization lives"
    },
    ids: {
      default: "remote",
      pattern: "remote|merge",
      help: "what the candidates' external ids and the workflows' jobs are: ids of the ATS (remote) or Merge's UUIDs (merge)"
    },
    remote_user_id: {help: "the user in whose name changes are made, as GET /users shows it; Merge requires one"},
    note_subject: {default: "Screening", help: "the subject of our notes"},
    note_visibility: {
      default: "PRIVATE",
      pattern: "ADMIN_ONLY|PUBLIC|PRIVATE",
      help: "who may read our notes: ADMIN_ONLY, PUBLIC or PRIVATE"
    }
  },
  credentials: {
    api_key: {help: "a production access key, from Merge's dashboard under API keys"},
    account_token: {help: "the account token of the linked account, from the dashboard or from linking"}
  },
  auth: {
    kind: "header",
    name: "Authorization",
    value: "Bearer {api_key}",
    headers: {"X-Account-Token": "{account_token}"}
  },
  rate: {count: 100, per_ms: 60000},
  concurrency: 4,
  timeout_ms: 60000,
  capabilities: {
    stage: {needs_job: true, only_from: true},
    fields: {
      batch: true,
      pattern: "(first_name|last_name|company|title|is_private|can_email|last_interaction_at|remote_template_id|(integration_params|linked_account_params)\\..+)"
    },
    tags: {batch: true},
    note: {max_chars: 10000}
  },
  classify: true,
  probe: true,
  notes: [
    "A stage is a job interview stage, by name, Merge id or id of the ATS.",
    "Merge cannot reject: there is no such call. Where the ATS has a stage for rejected candidates, use stage.",
    "Fields are members of Merge's candidate, or integration_params.NAME and linked_account_params.NAME for what the ATS takes beyond them. What can be written depends on the ATS: see GET /candidates/meta/patch/{id}.",
    "Tags are written as a whole, from Merge's copy of the ATS: one that somebody set since the last synchronization is lost. Avoid tags where that matters.",
    "Notes cannot be listed by candidate, so a note whose fate is unknown cannot be looked for.",
    "change-stage is a beta feature of Merge.",
    "unverified: which kinds of problem Merge reports within a 2xx answer; each counts as refused by the ATS.",
    "unverified: the longest note; atsyncd cuts at 10000 characters."
  ]
};

# ---- lists: pages with a cursor

def page_size: 100;
def pages_max: 10;

# The one that has this id or name: the name exactly, else whatever the case of its letters; null if there is none.
def pick($wanted):
  ($wanted | ascii_downcase) as $low
  | first((.[] | select(.id == $wanted)),
          (.[] | select(.remote_id == $wanted)),
          (.[] | select(.name == $wanted)),
          (.[] | select((.name | type) == "string" and (.name | ascii_downcase) == $low)),
          null);
def names: map(.name | select(type == "string")) | join(", ");

def items_of($lookup): [(.got[$lookup] // [])[].body.results[]?];
def cursor_after($lookup):
  (.got[$lookup] // []) as $pages
  | if ($pages | length) == 0 or ($pages | length) >= pages_max then null
    else ($pages | last | .body.next) | if type == "string" and . != "" then . else null end
    end;
def is_whole($lookup): ((.got[$lookup] // []) | length) > 0 and cursor_after($lookup) == null;
# The next page of a list.
def page($lookup; $path; $query; $cache):
  {
    lookup: $lookup,
    append: true,
    list: ["results"],
    request: {method: "GET", path: $path, query: ($query + {page_size: page_size, cursor: cursor_after($lookup)})}
  }
  + (if $cache == null then {} else {cache: $cache} end);

# ---- candidate and job: of the ATS or of Merge

def by_remote_id: .settings.ids == "remote";
def is_uuid: test("\\A[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\\z");

# What has to be looked up before the candidate is known; null: nothing. "whole": with its members, not only its id.
def candidate_lookup($whole):
  if by_remote_id then
    (if .got.candidate != null then null
     else
       {
         lookup: "candidate",
         list: ["results"],
         request: {method: "GET", path: ["candidates"], query: {remote_id: .candidate.id}}
       }
     end)
  elif (.candidate.id | is_uuid | not) then
    {
      fail: "invalid",
      message: "the candidate's external id is not a UUID of Merge; with settings.ids: remote it is one of the ATS"
    }
  elif $whole and .got.candidate == null then
    {lookup: "candidate", record: [], request: {method: "GET", path: ["candidates", .candidate.id]}}
  else null
  end;
def candidate:
  .candidate.id as $id
  | if by_remote_id then
      [.got.candidate.body.results[]? | select(.remote_id == $id)] | sort_by(.remote_was_deleted == true) | first
    else (.got.candidate.body // {id: $id})
    end;
def no_candidate: {fail: "not_found", message: "Merge knows no candidate with this id of the ATS (yet)"};

def job_lookup:
  if by_remote_id then
    (if .got.job != null then null
     else
       {lookup: "job", list: ["results"], cache: "15m", request: {method: "GET", path: ["jobs"], query: {remote_id: .job}}}
     end)
  elif (.job | is_uuid | not) then
    {
      fail: "configuration",
      message: "the workflow's job is not a UUID of Merge; with settings.ids: remote it is one of the ATS"
    }
  else null
  end;
def job_id:
  .job as $job
  | if by_remote_id then ([.got.job.body.results[]? | select(.remote_id == $job)] | first | .id)
    else $job
    end;
def no_job: {fail: "configuration", message: "Merge knows no job \(.job) of the ATS"};

# Of several applications for the job the one that is not deleted and not rejected, of these the newest.
def application:
  job_id as $job
  | [items_of("applications")[] | select(.job == $job)]
  | sort_by([(.remote_was_deleted != true), (.rejected_at == null), (.applied_at // .created_at // "")]) | last;

# ---- stages: those of the job; an ATS with stages for all jobs alike has none of them

def job_stages: items_of("stages of the job");
def stages:
  if (job_stages | length) > 0 then job_stages else [items_of("stages")[] | select(.job == null)] end;
def stages_lookup:
  if (is_whole("stages of the job") | not) then
    page("stages of the job"; ["job-interview-stages"]; {job_id: job_id}; "15m")
  elif (job_stages | length) == 0 and (is_whole("stages") | not) then
    page("stages"; ["job-interview-stages"]; {}; "15m")
  else null
  end;

def stage:
  candidate_lookup(false) as $candidate_lookup
  | job_lookup as $job_lookup
  | if $candidate_lookup != null then $candidate_lookup
    elif candidate == null then no_candidate
    elif $job_lookup != null then $job_lookup
    elif job_id == null then no_job
    elif (is_whole("applications") | not) then
      page("applications"; ["applications"]; {candidate_id: candidate.id, job_id: job_id}; null)
    elif application == null then {fail: "not_found", message: "the candidate has no application for job \(.job)"}
    else
      stages_lookup as $stages_lookup
      | application as $application
      | stages as $stages
      | .write.stage as $wanted
      | ($stages | pick($wanted)) as $to
      | ([$stages[] | select(.id == $application.current_stage)] | first) as $now
      | (.write.only_from // []) as $from
      | if $stages_lookup != null then $stages_lookup
        elif $to == null then
          {
            fail: "configuration",
            message: "there is no stage \"\($wanted)\" in job \(.job); it has: \($stages | names)"
          }
        elif $application.current_stage == $to.id then {already: true}
        elif ($from | length) > 0
             and ([$from[] as $name | [$now | select(. != null)] | pick($name)] | all(. == null))
             and (($application.current_stage == null and any($from[]; . == "none")) | not)
        then
          {
            skip: ("the candidate is in "
                   + (if $application.current_stage == null then "no stage of this job yet"
                      else "stage \"\($now.name // $application.current_stage)\"" end)
                   + ", the mapping moves only from: " + ($from | join(", ")))
          }
        else
          {
            request: {
              method: "POST",
              path: ["applications", $application.id, "change-stage"],
              body: {job_interview_stage: $to.id, remote_user_id: .settings.remote_user_id}
            }
          }
        end
    end;

# ---- the candidate's members

def patch_candidate($id; $model):
  {
    request: {
      method: "PATCH",
      path: ["candidates", $id],
      body: {model: $model, remote_user_id: .settings.remote_user_id}
    }
  };

# "integration_params.x" is member x of the object integration_params.
def model($values):
  reduce ($values | to_entries[]) as $entry
    ({};
     ($entry.key | split(".")) as $parts
     | if $parts[0] == "integration_params" or $parts[0] == "linked_account_params"
       then .[$parts[0]][$parts[1:] | join(".")] = $entry.value
       else .[$entry.key] = $entry.value
       end);

def fields:
  candidate_lookup(false) as $lookup
  | if $lookup != null then $lookup
    elif candidate == null then no_candidate
    else patch_candidate(candidate.id; model(.write.fields))
    end;

def tags:
  candidate_lookup(true) as $lookup
  | if $lookup != null then $lookup
    elif candidate == null then no_candidate
    else
      (candidate.tags // []) as $there
      | (reduce .write.tags[] as $tag
           ($there; if any(.[]; ascii_downcase == ($tag | ascii_downcase)) then . else . + [$tag] end)) as $all
      | if ($all | length) == ($there | length) then {already: true}
        else patch_candidate(candidate.id; {tags: $all})
        end
    end;

def note:
  candidate_lookup(false) as $lookup
  | if $lookup != null then $lookup
    elif candidate == null then no_candidate
    else
      {
        request: {
          method: "POST",
          path: ["activities"],
          body: {
            model: {
              activity_type: "NOTE",
              subject: .settings.note_subject,
              body: .write.text,
              visibility: .settings.note_visibility,
              candidate: candidate.id
            },
            remote_user_id: .settings.remote_user_id
          }
        }
      }
    end;

def probe:
  if .got.account == null then {lookup: "account", request: {method: "GET", path: ["account-details"]}}
  else {already: true}
  end;

# ---- what an answer means: errors[] outranks a good status

def problem: [.title, .detail] | map(select(type == "string" and . != "")) | join(": ");

def classify:
  (if (.body | type) == "object" and (.body.errors | type) == "array" then .body.errors else [] end) as $errors
  | if .status >= 200 and .status < 300 and ($errors | length) > 0 then
      {
        outcome: "invalid",
        message: ([$errors[] | if type == "object" then problem else tostring end | select(. != "")] | join("; ")
                  | if . == "" then "Merge reports an error without a text" else . end)
      }
    else null
    end;
