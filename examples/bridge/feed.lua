-- feed.lua -- the upstream connection, and what it brings.
--
-- Worker 0 has the connection and the prices; the clients of all workers are in the room. All that
-- a client gets comes from worker 0, by broadcasts and sends, whose order the server keeps: no old
-- price arrives after a newer one.

local tw = require "tidewire"

local feed = { ROOM = "prices" }

local URL = os.getenv("UPSTREAM") or "ws://127.0.0.1:9000/prices"
local SHORTEST_PAUSE, LONGEST_PAUSE = 0.5, 30 -- seconds from a failure to the next attempt
local OPTIONS = {
  codec = "json",
  timeout = 5,      -- seconds to connect in
  ping_period = 10, -- seconds; an upstream that is silent for pong_period is dead
  pong_period = 25,
}

local room = tw.room(feed.ROOM)

-- The same table in all generations of the code: new code goes on with the connection and the
-- prices of the old. `client` is nil while there is no connection.
local kept = tw.keep("feed", { prices = {}, client = nil })

-- ---- to the clients ----

local function status()
  return { type = "upstream", connected = kept.client ~= nil }
end

local function set_client(client)
  kept.client = client
  room:broadcast(status(), { key = "upstream" })
end

-- The key makes newer prices of a symbol replace older ones in the queue of a slow client.
local function publish(symbol, price)
  kept.prices[symbol] = price
  room:broadcast({ type = "prices", prices = { [symbol] = price } }, { key = "price " .. symbol })
end

-- Every new client gets all prices at once.
if tw.worker == 0 then
  room:watch({
    on_join = function(member)
      tw.send(member.id, { type = "prices", prices = kept.prices })
      tw.send(member.id, status())
    end,
  })
end

-- ---- from the upstream ----

-- Other servers send what they like: look at it before you use it.
local function handle(message)
  if type(message) == "table" and type(message.symbol) == "string" and #message.symbol <= 32
    and type(message.price) == "number" then
    publish(message.symbol, message.price)
  else
    tw.log.warn("no price", { message = message })
  end
end

-- The connection that the old code has left, or a new one; or nil and a problem.
local function connect()
  if kept.client then return kept.client end
  local client, problem = tw.connect(URL, OPTIONS)
  if client then
    tw.log.info("upstream connected", { url = URL })
    set_client(client)
  end
  return client, problem
end

-- One connection, from its begin to its end. Returns how many messages came, and why no more come.
local function receive_all()
  local client, problem = connect()
  if not client then return 0, problem end
  local count = 0
  for message in client:messages() do
    count = count + 1
    handle(message)
  end
  set_client(nil)
  local _, _, code, reason = client:receive()
  return count, ("closed with %d %s"):format(code, reason)
end

-- Twice as long after each failure, and shortened at random, so that many programs that have lost
-- the same server do not come back at the same moment.
local function pause_after(failures)
  local longest = math.min(LONGEST_PAUSE, SHORTEST_PAUSE * 2 ^ (failures - 1))
  return longest * (0.5 + math.random() / 2)
end

local function run()
  local failures = 0
  while true do
    local count, problem = receive_all()
    failures = count > 0 and 1 or failures + 1
    local pause = pause_after(failures)
    tw.log.warn("no upstream", { why = problem, failures = failures, again_in = pause })
    tw.sleep(pause)
  end
end

--- Connects, now and whenever the connection has ended. Call it from the app's on_load or
--- on_reload: such functions end when newer code is activated, so there is never a second one.
function feed.start()
  if tw.worker == 0 then tw.spawn(run) end
end

return feed
