# kombo - Kombo's unified ATS API: one API in front of many ATSs.
#
# Base URL   https://api.kombo.dev/v1 (EU), https://api.us.kombo.dev/v1 (US).
# Auth       Authorization: Bearer KEY, and X-Integration-Id, which says which customer's ATS is meant.
# Ids        the candidate's external id is the id that the ATS behind Kombo uses ("remote id"), likewise `job`. Kombo has
#            ids of its own and wants them in paths: one lookup of the candidate gives all of them, with its applications.
# Limits     not published. Errors say PLATFORM.RATE_LIMIT_EXCEEDED, PLATFORM.CONCURRENCY_LIMIT_EXCEEDED or
#            REMOTE.RATE_LIMIT_EXCEEDED.
# Sources    certain (the vendor's OpenAPI document, docs.kombo.dev): all paths, bodies and error codes here.
# Traps      - "For error handling use the code, not the HTTP status": see classify.
#            - What Kombo knows of a candidate is as old as its last synchronization with the ATS. A candidate who is new in the
#              ATS is not found yet; a stage that a recruiter changed a moment ago is not seen yet.
#            - The list /ats/application-stages is deprecated: most ATSs have stages for each job, which are in /ats/jobs.
#            - A filter takes several ids separated by commas, so what comes back is compared with what was asked for.
#            - Notes and result links cannot be listed.

def meta: {
  name: "kombo",
  title: "Kombo (unified ATS API)",
  base_url: "https://{host}/v1",
  settings: {
    integration_id: {pattern: "[A-Za-z0-9_-]+:[A-Za-z0-9_-]+",
      help: "which integration is meant, as Kombo's dashboard shows it, such as greenhouse:HWUTwvyx2wLoSUHphiWVrp28"},
    host: {default: "api.kombo.dev", pattern: "api\\.kombo\\.dev|api\\.us\\.kombo\\.dev",
      help: "api.kombo.dev (EU) or api.us.kombo.dev (US), where your Kombo account is"},
    candidate_id: {default: "remote", pattern: "remote|kombo",
      help: "what the candidate's external id is: remote, the id in the ATS, or kombo, Kombo's own"},
    greenhouse_user_id: {required: false, pattern: "[1-9][0-9]{0,14}",
      help: "only if the ATS is Greenhouse: the user in whose name Kombo writes there"},
    result_url: {required: false, pattern: "https://[^ ]+",
      help: "the page that an assessment's link in the ATS opens; {run} is replaced by the id of the run"},
    result_label: {default: "Popp screening", help: "what an assessment's link is called"},
    result_prefix: {default: "Popp:", help: "what Kombo puts before the names of the assessment's values"}
  },
  credentials: {api_key: {help: "made in Kombo's dashboard under Secrets"}},
  auth: {kind: "header", name: "Authorization", value: "Bearer {api_key}"},
  headers: {"X-Integration-Id": "{integration_id}"},
  rate: {count: 10, per_ms: 1000},
  concurrency: 4,
  timeout_ms: 120000,
  throttle_ms: 10000,
  classify: true,
  probe: true,
  capabilities: {
    stage: {needs_job: true, only_from: true},
    reject: {needs_job: true},
    tags: {},
    note: {needs_job: true, max_chars: 10000, shown_as: "text"},
    assessment: {needs_job: true, max_chars: 2000}
  },
  notes: [
    "Candidate and job ids are those of the ATS behind Kombo (with candidate_id: kombo, Kombo's own candidate id). The application is looked up.",
    "Kombo answers from its last synchronization: a candidate who is new in the ATS is not found before the next one, and only_from judges by the stage that the candidate had then.",
    "In Kombo's scope configuration, allow: Set application stage, Reject applications, Add notes, Manage tags, Add result links.",
    "Which of these an ATS can do differs: Kombo says INTEGRATION.ACTION_NOT_AVAILABLE where it cannot.",
    "Kombo has no general way to write custom fields: fields are not offered.",
    "An assessment becomes a result link with its score, status and summary, and needs the setting result_url. Kombo cannot list links: one that is written again after a lost connection may be there twice. The same holds for notes.",
    "No candidate e-mail is asked for. Rules in the ATS itself may send one when a stage changes.",
    "unverified: rate limits (not published; 10 requests a second is assumed) and the greatest length of a note."
  ]
};

# ---- helpers

# The one of a list of {id, remote_id, name} that is meant: by one of its ids, its exact name, its name in any case; null.
def find_entry($list; $wanted):
  first(($list[] | select(.id == $wanted or .remote_id == $wanted)),
        ($list[] | select(.name == $wanted)),
        ($list[] | select((.name // "" | ascii_downcase) == ($wanted | ascii_downcase))),
        null);

def names($list): if ($list | length) == 0 then "none" else [$list[] | .name // .remote_id // .id] | join(", ") end;

def results($answer): $answer.body.data.results // [];

# What is passed through to the ATS.
def remote_fields:
  if .settings.greenhouse_user_id != null then
    {remote_fields: {greenhouse: {post_headers: {"On-Behalf-Of": .settings.greenhouse_user_id}}}}
  else {}
  end;

# ---- who is meant

def ask_candidate:
  {lookup: "candidate", list: ["data", "results"],
   request: {method: "GET", path: ["ats", "candidates"],
             query: (if .settings.candidate_id == "kombo" then {ids: .candidate.id} else {remote_ids: .candidate.id} end)}};

def the_candidate:
  .candidate.id as $id
  | (if .settings.candidate_id == "kombo" then "id" else "remote_id" end) as $member
  | first((results(.got.candidate)[] | select(.[$member] == $id)), null);

# The application on the job: one that is still open before others, then the newest.
def the_application:
  .job as $job
  | [the_candidate.applications[]? | select($job != null and (.job.remote_id == $job or .job.id == $job))]
  | sort_by([.outcome == "PENDING" or .outcome == null, .remote_created_at // ""])
  | last;

# f sees the context with .person.
def with_candidate(f):
  if .got.candidate == null then ask_candidate
  elif the_candidate == null then
    {fail: "not_found",
     message: "Kombo knows no candidate \(.candidate.id); if the candidate is new in the ATS, Kombo's next synchronization brings it"}
  else (. + {person: the_candidate}) | f
  end;

# f sees the context with .person and .application.
def with_application(f):
  with_candidate(
    if the_application == null then
      {fail: "not_found", message: "candidate \(.candidate.id) has no application on job \(.job) in Kombo"}
    else (. + {application: the_application}) | f
    end);

def on_application($verb): ["ats", "applications", .application.id, $verb];

# ---- stage: the list is kept; before a stage counts as missing, it is asked for once more

def ask_job($name; $more):
  {lookup: $name, list: ["data", "results"], request: {method: "GET", path: ["ats", "jobs"], query: {ids: .application.job.id}}} + $more;

def stages: [results(.got["job again"] // .got.job)[] | .stages[]?];

def move($stage):
  {request: {method: "PUT", path: on_application("stage"), body: ({stage_id: $stage.id} + remote_fields)}};

# Only from these stages; "none" stands for no stage.
def guarded_move($stage; $from):
  (.application.current_stage // {id: "none", name: "none"}) as $now
  | if ($from | length) == 0 then move($stage)
    elif $now.id == $stage.id then {already: true}
    elif any($from[]; find_entry([$now]; .) != null) then move($stage)
    else
      {skip: "the candidate is in \(if $now.id == "none" then "no stage of this job yet" else "stage \"\($now.name)\"" end), the mapping moves only from: \($from | join(", "))"}
    end;

def stage:
  with_application(
    if .got.job == null then ask_job("job"; {cache: "15m"})
    else
      find_entry(stages; .write.stage) as $stage
      | if $stage != null then guarded_move($stage; .write.only_from // [])
        elif .got["job again"] == null then ask_job("job again"; {})
        else
          {fail: "configuration", message: "there is no stage \"\(.write.stage)\" in job \(.job); it has: \(names(stages))"}
        end
    end);

# ---- reject: reasons come in pages, 10 at most

def ask_reasons:
  (.got.reasons // []) as $pages
  | if $pages == [] then
      {lookup: "reasons", append: true, list: ["data", "results"], cache: "15m",
       request: {method: "GET", path: ["ats", "rejection-reasons"], query: {page_size: 250}}}
    elif ($pages[-1].body.data.next != null) and ($pages | length) < 10 then
      {lookup: "reasons", append: true, list: ["data", "results"], cache: "15m",
       request: {method: "GET", path: ["ats", "rejection-reasons"],
                 query: {page_size: 250, cursor: $pages[-1].body.data.next}}}
    else null
    end;

def reject:
  with_application(
    ([.got.reasons[]? | results(.)[]]) as $reasons
    | find_entry($reasons; .write.reason) as $reason
    | if .application.outcome == "DECLINED" then {already: true}
      elif $reason != null then
        {request: {method: "POST", path: on_application("reject"),
                   body: ({rejection_reason_id: $reason.id} + remote_fields)}}
      elif ask_reasons != null then ask_reasons
      else
        {fail: "configuration", message: "there is no rejection reason \"\(.write.reason)\"; there are: \(names($reasons))"}
      end);

# ---- tags: Kombo adds one to those that are there, and makes it if need be

def tags:
  with_candidate(
    .write.tags[0] as $tag
    | if any(.person.tags[]?; .name == $tag) then {already: true}
      else
        {request: {method: "POST", path: ["ats", "candidates", .person.id, "tags"],
                   body: ({tag: {name: $tag}} + remote_fields)}}
      end);

# ---- note, assessment

def note:
  with_application(
    {request: {method: "POST", path: on_application("notes"),
               body: ({content: .write.text, content_type: "PLAIN_TEXT"} + remote_fields)}});

def result_url: (.run.id // "" | tostring | @uri) as $run | .settings.result_url | gsub("\\{run\\}"; $run);

def result_values:
  [{key: "Score", value: .write.score}, {key: "Status", value: .write.status}, {key: "Summary", value: .write.summary}]
  | map(select(.value != null) | .value |= tostring);

def assessment:
  if .settings.result_url == null then
    {fail: "configuration",
     message: "an assessment becomes a link in the ATS: set settings.result_url of this connector to the page that it opens"}
  else
    with_application(
      {request: {method: "POST", path: on_application("result-links"),
                 body: ({label: .settings.result_label, url: result_url,
                         details: {custom_field_name_prefix: .settings.result_prefix, attributes: result_values}}
                        + remote_fields)}})
  end;

# ---- probe: says whether key, integration and the permission to read are right

def probe:
  if .got.candidates != null then {already: true}
  else {lookup: "candidates", request: {method: "GET", path: ["ats", "candidates"], query: {page_size: 1}}}
  end;

# ---- what an answer means

# [outcome, class, words]. Kombo could not say whether a write that ended so was done: such a code has no words for it.
def meanings: {
  "PLATFORM.RATE_LIMIT_EXCEEDED": ["throttled", "rate_limited", "Kombo asks us to slow down"],
  "PLATFORM.CONCURRENCY_LIMIT_EXCEEDED": ["throttled", "rate_limited", "Kombo answers too many of our requests at once"],
  "REMOTE.RATE_LIMIT_EXCEEDED": ["throttled", "rate_limited", "the ATS behind Kombo asks to slow down"],
  "PLATFORM.AUTHENTICATION_INVALID": ["reauth", "credentials", "Kombo does not accept the API key"],
  "PLATFORM.IP_NOT_WHITELISTED": ["config", "permission", "Kombo does not allow this machine's address: add it in Kombo's dashboard"],
  "PLATFORM.INTEGRATION_NOT_FOUND": ["config", "permission", "Kombo knows no such integration: check settings.integration_id and settings.host"],
  "PLATFORM.INPUT_INVALID": ["invalid", "invalid", "Kombo does not accept this value"],
  "PLATFORM.TASK_TIMED_OUT": ["uncertain", "uncertain", "the ATS behind Kombo took too long"],
  "PLATFORM.UNKNOWN_ERROR": ["uncertain", "unavailable", "Kombo had an error of its own"],
  "INTEGRATION.AUTHENTICATION_INVALID": ["config", "credentials", "Kombo has lost its access to the ATS: connect the integration again in Kombo"],
  "INTEGRATION.PERMISSION_MISSING": ["config", "permission", "the ATS does not permit this to Kombo"],
  "INTEGRATION.INACTIVE": ["config", "permission", "the integration is switched off in Kombo"],
  "INTEGRATION.SETUP_INCOMPLETE": ["config", "permission", "the integration is not set up completely in Kombo"],
  "INTEGRATION.QA_FAILED": ["config", "permission", "the integration did not pass Kombo's quality assurance"],
  "INTEGRATION.SETUP_SYNC_PENDING": ["retry", "unavailable", "Kombo's first synchronization with the ATS is not done yet"],
  "INTEGRATION.MODEL_NOT_AVAILABLE": ["config", "configuration", "Kombo does not offer this for this ATS"],
  "INTEGRATION.MODEL_DISABLED": ["config", "configuration", "this is switched off in Kombo's scope configuration"],
  "INTEGRATION.ACTION_NOT_AVAILABLE": ["config", "configuration", "Kombo does not offer this for this ATS"],
  "INTEGRATION.ACTION_DISABLED": ["config", "configuration", "this is switched off in Kombo's scope configuration"],
  "REMOTE.SERVICE_UNAVAILABLE": ["retry", "unavailable", "the ATS behind Kombo is not available"],
  "REMOTE.INPUT_INVALID": ["invalid", "invalid", "the ATS behind Kombo does not accept this value"],
  "REMOTE.UNKNOWN_HTTP_ERROR": ["uncertain", "unavailable", "the ATS behind Kombo had an error"],
  "ATS.JOB_CLOSED": ["invalid", "invalid", "the job is closed in the ATS"],
  "ATS.APPLICATION_ALREADY_EXISTS": ["already", "", ""]
};

def classify:
  .request.is_write as $is_write
  | (if (.body | type) == "object" then .body else {} end) as $body
  | (if ($body.error | type) == "object" then $body.error else {} end) as $error
  | (meanings[$error.code // ""]) as $meaning
  | if $meaning != null then
      {outcome: (if $meaning[0] == "uncertain" and ($is_write | not) then "retry" else $meaning[0] end)}
      + (if $meaning[1] == "" then {}
         else
           {class: (if $meaning[1] == "uncertain" and ($is_write | not) then "unavailable" else $meaning[1] end),
            message: ([$meaning[2], ($error.message // empty)] | join(": "))}
         end)
    elif $is_write and (.status / 100 | floor) == 2 and (($body.warnings // []) | length) > 0 then
      {outcome: "ok", message: "Kombo warns: \([$body.warnings[] | .message // empty] | join("; "))"}
    else null
    end;
