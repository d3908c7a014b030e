-- chunks.lua -- a test runs Lua code inside the server, and gets the results as text.
--
-- Both halves are here, so the form of an answer is in one place. The test kit puts this file
-- beside the app, whose handle_message sends `chunks.run(code, environment)`; the route "POST
-- /run", wrapped in `here.route`, runs code without a connection. The test calls the other
-- functions.

local chunks = {}

--- Inside the server: runs the code, and gives "= " and its results. What it throws goes through.
---@param code string
---@param environment table what it sees beside the global variables
---@return string
function chunks.run(code, environment)
  local f = assert(load(code, "=code", "t", setmetatable(environment, { __index = _G })))
  local results = table.pack(f())
  for i = 1, results.n do results[i] = tostring(results[i]) end
  return "= " .. table.concat(results, " ", 1, results.n)
end

local function results_of(answer)
  return answer:match("^= (.*)$") or error("not an answer: " .. answer, 3)
end

--- What the code gave, with this client's `conn`. No other message may come before it.
---@param peer support.client
---@param code string
---@return string
function chunks.ask(peer, code)
  local results = results_of(peer:ask(code))
  return results
end

--- What it gave on no connection, on this worker.
---@param app support.server
---@param worker integer
---@param code string
---@return string
function chunks.ask_on(app, worker, code)
  local results =
    results_of(app:http_on(worker, { method = "POST", path = "/run", body = code }).body)
  return results
end

--- These must be the next messages, and there must be no other one: what was queued before, comes
--- before the answer.
---@param peer support.client
---@param ... string
function chunks.check_got_only(peer, ...)
  local check = require "luassert" -- here, as inside the server there is none
  for _, expected in ipairs({ ... }) do check.equal(expected, (peer:receive())) end
  check.equal("= nothing more", (peer:ask("return 'nothing more'")))
end

return chunks
