-- top.lua -- the best scores in Redis, by lua-redis over sockets that wait.
--
-- A client of lua-redis sends a command and reads its answer, so only one hook may use it at a
-- time. Hooks take one from `idle`, or connect, and put it back. No function throws: each returns
-- nil and a message where Redis cannot be reached.

local redis = require "redis"
local tw = require "tidewire"
local url = require "socket.url"

local top = {
  KEPT = 100, -- scores in Redis
  COUNT = 10, -- of these are shown
}

local KEY = "leaderboard:top"
local SERVER = url.parse(os.getenv("REDIS_URL") or "redis://localhost")
local TIMEOUT = 2 -- seconds: to connect in, and for an answer
local MOST_IDLE = 4

local idle = {}

local function connect()
  local socket = assert(tw.socket.connect(SERVER.host, tonumber(SERVER.port or 6379),
    { timeout = TIMEOUT }))
  local client = redis.connect({ socket = socket })
  if SERVER.password then client:auth(SERVER.password) end
  return client
end

local function call(client, command, ...)
  local done, result = pcall(command, client, ...)
  if done and #idle < MOST_IDLE then
    idle[#idle + 1] = client
  else
    client.network.socket:close()
  end
  return done, result
end

-- Calls command(client, ...) and returns what it returns; or nil and a message. A connection that
-- was idle may have been closed: then the command runs again on a new one, so it must be one that
-- may.
local function with_client(command, ...)
  local client = table.remove(idle)
  if client then
    local done, result = call(client, command, ...)
    if done then return result end
    if tostring(result):find("timeout", 1, true) then return nil, result end
  end
  local connected, problem = pcall(connect)
  if not connected then return nil, problem end
  local done, result = call(problem, command, ...)
  if done then return result end
  return nil, result
end

local function add(client, scores)
  local arguments = { "GT" } -- a lower score than the player's replaces none
  for _, score in ipairs(scores) do
    arguments[#arguments + 1] = score.points
    arguments[#arguments + 1] = score.player
  end
  client:zadd(KEY, table.unpack(arguments))
  client:zremrangebyrank(KEY, 0, -top.KEPT - 1)
  return true
end

--- Adds scores, of which those that are among the best stay.
---@param scores leaderboard.score[]
---@return true|nil, string|nil problem
function top.add(scores)
  if #scores == 0 then return true end
  return with_client(add, scores)
end

local function list(client)
  local scores = {}
  for index, pair in ipairs(client:zrevrange(KEY, 0, top.COUNT - 1, { withscores = true })) do
    scores[index] = { player = pair[1], points = math.tointeger(tonumber(pair[2])) }
  end
  return scores
end

--- The best scores.
---@return leaderboard.score[]|nil, string|nil problem
function top.list()
  return with_client(list)
end

return top
