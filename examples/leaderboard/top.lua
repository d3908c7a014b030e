-- top.lua -- the best scores in Redis, by lua-redis over sockets that wait.
--
-- A client of lua-redis sends a command and reads its answer, so only one hook may use a connection
-- at a time. tw.socket keeps connections that are free, through reloads too, and gives one of them
-- to the next hook. No function throws: each returns nil and a message where Redis cannot be
-- reached.

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
local KEPT_SECONDS, MOST_KEPT = 60, 4 -- connections that no hook uses

local OPTIONS = { timeout = TIMEOUT, pool = "redis" }

local function run(socket, command, ...)
  local client = redis.connect({ socket = socket })
  if SERVER.password and socket:getreusedtimes() == 0 then client:auth(SERVER.password) end
  return command(client, ...)
end

-- Calls command(client, ...) and returns what it returns; or nil and a message. A connection that
-- was kept may have been closed: then the command runs again on another, so it must be one that
-- may.
local function with_client(command, ...)
  local socket, problem = tw.socket.connect(SERVER.host, SERVER.port or 6379, OPTIONS)
  if not socket then return nil, problem end
  local done, result = pcall(run, socket, command, ...)
  if done then
    socket:setkeepalive(KEPT_SECONDS, MOST_KEPT)
    return result
  end
  local was_kept = socket:getreusedtimes() > 0
  socket:close()
  if was_kept and tostring(result):find("closed", 1, true) then
    return with_client(command, ...)
  end
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
