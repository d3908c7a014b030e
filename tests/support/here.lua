-- here.lua -- a test chooses the worker of a connection or a request.
--
-- The kernel chooses the worker of a connection. The test kit puts this file beside the app; with
-- `validate = here.validate`, and routes wrapped in `here.route`, a worker refuses requests for
-- another one (?worker=2 in the query) with 421, "Misdirected Request", before any hook runs.
-- `connect_on` and `http_on` of server.lua then try again. Runs inside the server.

local tw = require "tidewire"

local here = {}

local function is_meant(request)
  local wanted = request.query.worker
  return wanted == nil or tonumber(wanted) == tw.worker
end

function here.validate(request)
  return is_meant(request), 421
end

function here.route(answer)
  return function(request)
    if is_meant(request) then return answer(request) end
    return { status = 421, body = "it is another worker that is wanted" }
  end
end

return here
