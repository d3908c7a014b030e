-- requests.lua -- requests of scripts to clients: conn:ask.
--
-- docs/clients.md has the form of requests and answers. An answer comes as a message: C takes it
-- out of those that wait for a sleeping hook (hub_asks.c), the codec out of the others. Keeps the
-- open requests of each connection that was asked.

local async = require "tidewire.async"
local call_options = require "tidewire.load.call_options"
local conn_keys = require "tidewire.conn_keys"
local core = require "tidewire.core"
local json = require "tidewire.json"
local misuse = require "tidewire.base.misuse"

local requests = {}

local ID <const> = conn_keys.ID
local WAIT <const> = core.wait_marker
local raw_yield = coroutine.yield

--- Requests to one client that may be open at once.
local MOST <const> = 100

call_options.declare("ask", {
  { name = "timeout", type = "seconds", positive = true, default = 10 },
  { name = "type", type = "text" },
})

---@class tidewire.OpenRequest
---@field task integer
---@field results table|nil  packed, as conn:ask returns them
---@field timer tidewire.Timer|nil
---@field is_asleep boolean|nil

---@class tidewire.Asked
---@field count integer
---@field open table<integer, tidewire.OpenRequest>

--- By the connections' integers.
---@type table<integer, tidewire.Asked>
local asked = {}

--- The paths of endpoints whose connections were asked: only these look for answers.
---@type table<string, true>
local asking_paths = {}

--- The next number. It begins with the clock, so that a process does not use again the numbers of
--- the process before, whose sessions it may have.
---@type integer|nil
local next_number

-- ---- answers ----

local function finish(request, ...)
  if not request.results then
    request.results = table.pack(...)
    core.wake(request.task)
  end
end

--- What conn:ask returns for an answer.
local function results_of(answer)
  local problem = answer.error
  if problem == nil or problem == json.null then
    return answer.data
  end
  local message, kind = problem, nil
  if type(problem) == "table" then
    message, kind = problem.message, problem.kind
  end
  return nil, type(message) == "string" and message or "failed",
    type(kind) == "string" and kind or "failed"
end

--- Takes a value that a client has sent, if it is an answer: also one that comes too late, or to a
--- request that was not asked.
---@return boolean taken
local function take(known, value)
  local number = value.answer
  if type(number) ~= "number" or value.type ~= nil then
    return false
  end
  local request = known.open[math.tointeger(number)]
  if request then
    finish(request, results_of(value))
  end
  return true
end

--- C's event: a text came that may be an answer, while the connection's hook sleeps.
---@param id integer
---@param payload string
---@return boolean taken
function requests.answered(id, payload)
  local known = asked[id]
  local value = known and json.decode(payload)
  return type(value) == "table" and take(known, value)
end

--- C's event: the connection closes, or has lost its socket.
---@param id integer
---@param is_lost boolean
function requests.unanswered(id, is_lost)
  for _, request in pairs(asked[id] and asked[id].open or {}) do
    finish(request, nil, is_lost and "disconnected" or "closed")
  end
end

--- The connection is over.
---@param id integer
function requests.forget(id)
  asked[id] = nil
end

-- ---- what looks for answers ----

--- Takes a value that a client has sent, if it is an answer.
---@param conn tidewire.Conn
---@param value any
---@return boolean taken
function requests.take(conn, value)
  local known = asked[conn[ID]]
  return known ~= nil and type(value) == "table" and take(known, value)
end

--- The endpoint's messages are looked at from its first request on.
---@param endpoint tidewire.PreparedEndpoint
function requests.prepare(endpoint)
  if asking_paths[endpoint.path] then
    endpoint.receive = endpoint.receive_asked
  end
end

-- ---- requests ----

--- Checks the arguments of conn:ask. Throws, without a place. The result has the request's text
--- without its number, and the seconds to wait.
---@param endpoint tidewire.PreparedEndpoint
---@param value any
---@param given any
---@return { text: string, seconds: number }
function requests.check(endpoint, value, given)
  local options = call_options.check("ask", given, "conn:ask: ")
  if not endpoint.options or endpoint.options.codec ~= "json" then
    misuse.throw('conn:ask: the endpoint needs codec = "json"')
  end
  local parts = {}
  if options.type then
    parts[#parts + 1] = ',"type":' .. json.encode(options.type)
  end
  if value ~= nil then
    local ok, text = pcall(json.encode, value)
    if not ok then
      misuse.throw("conn:ask: %s", text)
    end
    parts[#parts + 1] = ',"data":' .. text
  end
  return { text = table.concat(parts), seconds = options.timeout }
end

--- The request is over, with or without an answer.
local Leaving = {
  __close = function(leaving)
    local known, request = leaving.known, leaving.request
    known.open[leaving.number] = nil
    known.count = known.count - 1
    if known.count == 0 then
      core.set_asked(leaving.id, false)
    end
    if request.timer then
      request.timer:cancel()
    end
    async.end_wait(request.task, request.results or not request.is_asleep)
  end,
}

local function nothing() end

--- Asks, and waits for the answer.
---@param id integer
---@param endpoint tidewire.PreparedEndpoint
---@param checked { text: string, seconds: number }
---@return any value  nil: the answer has none, or there is none
---@return string|nil message
---@return string|nil kind     of an error that the client has answered
function requests.ask(id, endpoint, checked)
  local task = async.this_task("conn:ask")
  if not core.is_open(id) then
    return nil, "closed"
  end
  local known = asked[id] or { count = 0, open = {} }
  if known.count >= MOST then
    return nil, "busy"
  end
  if not asking_paths[endpoint.path] then
    asking_paths[endpoint.path] = true
    requests.prepare(endpoint)
  end
  local number, request = next_number or math.floor(core.time() * 1000), { task = task }
  next_number = number + 1
  asked[id] = known
  known.open[number], known.count = request, known.count + 1
  local _ <close> = setmetatable({ id = id, known = known, number = number, request = request },
    Leaving)
  core.set_asked(id, true)
  local ok, why = core.send(id, ('{"ask":%d%s}'):format(number, checked.text))
  if not ok then
    return nil, why
  end
  request.timer = async.start_once(checked.seconds, function()
    finish(request, nil, "timeout")
  end, nothing)
  request.is_asleep = true
  while not request.results do
    raw_yield(WAIT)
  end
  return table.unpack(request.results, 1, request.results.n)
end

return requests
