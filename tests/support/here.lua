-- here.lua -- how a test reaches the worker that it wants.
--
-- Which worker gets a connection is the kernel's choice. The test kit puts this file beside the
-- app; with `validate = here.validate`, and routes wrapped in `here.route`, a worker refuses what
-- asks for another one (?worker=2 in its query) with 421, "Misdirected Request", before any hook
-- runs. `connect_on` and `http_on` of server.lua then come again. Runs inside the server.

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
