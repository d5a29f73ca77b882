-- What wrk sends and reports. Arguments after the URL:
--   put APPOINTMENTS INTERVIEWERS    book random appointments
--   paced MILLISECONDS PATH...       GET these paths in turn, with a pause before each
-- Without arguments, wrk sends a GET of the URL as fast as it is answered.

function init(args)
  math.randomseed(os.time())
  if args[1] == "put" then
    local headers = {["Content-Type"] = "application/json"}
    function request()
      local body = string.format(
        '{"interview":{"student":"Student %d","interviewer":%d}}',
        math.random(1000000), math.random(tonumber(args[3]))
      )
      local path = "/api/appointments/" .. math.random(tonumber(args[2]))
      return wrk.format("PUT", path, headers, body)
    end
  elseif args[1] == "paced" then
    local turn = 0
    function delay() return tonumber(args[2]) end
    function request()
      turn = turn % (#args - 2) + 1
      return wrk.format("GET", args[turn + 2])
    end
  end
end

-- One line of JSON after wrk's own report; times in seconds.
function done(summary, latency, requests)
  local seconds, errors = summary.duration / 1e6, summary.errors
  io.write(string.format(
    '{"requests": %d, "rate": %f, "p50": %f, "p99": %f, "errors": %d}\n',
    summary.requests, summary.requests / seconds,
    latency:percentile(50) / 1e6, latency:percentile(99) / 1e6,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout
  ))
end
