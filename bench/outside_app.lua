-- outside_app.lua -- what the part `outside` of the benchmark runs: a route for each figure of
-- tw.pool and tw.socket, and connections that wait in other servers.
--
-- GET /pool, /incr and /idle answer with figures, which they measure in this process: os.clock is
-- the CPU time of all its threads. /wait is a WebSocket whose message names where it waits. A
-- message to / goes to all clients of /.

package.path = package.path .. ";/usr/share/lua/5.3/?.lua" -- where Debian has lua-redis
local redis = require "redis"
local socket = require "socket"
local tw = require "tidewire"

local REDIS_PORT = tonumber(os.getenv "REDIS_PORT")
local pool = tw.pool("outside_pool", { threads = 8, timeout = 3600 })
local room = tw.room "all"

-- Runs body(number) for each number up to count at once, and waits for all of them.
local function at_once(count, body)
  local left = count
  tw.await(function(done)
    for number = 1, count do
      tw.spawn(function()
        body(number)
        left = left - 1
        if left == 0 then done() end
      end)
    end
  end)
end

local function connect()
  return redis.connect { host = "127.0.0.1", port = REDIS_PORT, tcp_nodelay = true }
end

-- CPU time of a call that does nothing, in microseconds: one caller, and several at once.
local function measure_pool(request)
  local calls, callers = tonumber(request.query.calls), tonumber(request.query.callers)
  for _ = 1, 100 do assert(pool:call("nothing")) end
  local began = os.clock()
  at_once(callers, function()
    for _ = 1, calls // callers do assert(pool:call("nothing")) end
  end)
  return { cpu_us = (os.clock() - began) * 1e6 / calls }
end

-- How many INCR a second so many connections to Redis do in so many seconds.
local function measure_incr(request)
  local connections, seconds = tonumber(request.query.connections), tonumber(request.query.seconds)
  local clients, count = {}, 0
  for number = 1, connections do clients[number] = connect() end
  local began, cpu = tw.now(), os.clock()
  at_once(connections, function(number)
    repeat
      clients[number]:incr "counter"
      count = count + 1
    until tw.now() - began >= seconds
  end)
  local took = tw.now() - began
  cpu = os.clock() - cpu
  for _, client in ipairs(clients) do client:quit() end
  return { per_second = count / took, cpu_us = cpu * 1e6 / count }
end

local function resident_bytes()
  local file <close> = assert(io.open "/proc/self/statm")
  return math.tointeger(tonumber(file:read("a"):match "^%d+ (%d+)")) * 4096
end

-- Bytes of the process for each idle connection to Redis, without the first, which touch code and
-- heap that the process needs once.
local function measure_idle(request)
  local connections, first = tonumber(request.query.connections), tonumber(request.query.first)
  local sockets = {}
  local function open(count)
    for _ = 1, count do
      sockets[#sockets + 1] = assert(socket.connect("127.0.0.1", REDIS_PORT))
    end
    collectgarbage()
    collectgarbage()
    return resident_bytes()
  end
  local before = open(first)
  local bytes = (open(connections) - before) / connections
  for _, one in ipairs(sockets) do one:close() end
  return { bytes = bytes }
end

local places = {
  redis = function() return connect():blpop("nothing", 0) end,
  database = function() return pool:call "sleep" end,
  websocket = function()
    local client <close> = assert(tw.connect(os.getenv "UPSTREAM"))
    return client:receive()
  end,
}

return {
  workers = 1,
  limits = { outgoing_sockets = 10000 },
  endpoints = {
    ["/"] = {
      on_start = function(conn) conn:join(room.name) end,
      handle_message = function(_, message) room:broadcast(message) end,
    },
    ["/wait"] = { handle_message = function(_, place) places[place]() end },
  },
  http = { ["/pool"] = measure_pool, ["/incr"] = measure_incr, ["/idle"] = measure_idle },
}
