-- Books random slots for random students.
-- Arguments: the number of slots, the number of interviewers.
dofile("report.lua")

local slots, interviewers
local headers = {["Content-Type"] = "application/json"}

function init(args)
  slots, interviewers = tonumber(args[1]), tonumber(args[2])
  math.randomseed(os.time())
end

function request()
  local body = string.format(
    '{"interview":{"student":"Student %d","interviewer":%d}}',
    math.random(1000000),
    math.random(interviewers)
  )
  return wrk.format("PUT", "/api/appointments/" .. math.random(slots), headers, body)
end
