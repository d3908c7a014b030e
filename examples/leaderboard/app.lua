-- app.lua -- leaderboard: every player's best score in PostgreSQL, the ten best in Redis; with a
-- page that shows each change.
--
-- Run:   scripts/run examples/leaderboard/app.lua
--        with DATABASE_URL=postgresql://user:password@localhost/scores and
--        REDIS_URL=redis://localhost; these are the defaults, without user and database. It needs
--        lua-sql-postgres, lua-redis and lua-socket (Debian, Ubuntu).
-- See:   http://127.0.0.1:8080/          in two windows
-- Type:  scripts/run talk ws://127.0.0.1:8080/scores
--        {"player":"ada","points":1200}
-- Break: stop Redis: the list comes from PostgreSQL then. Stop PostgreSQL: no score is kept, and
--        clients are told so. Start them again: the app connects by itself. The log has the causes.
-- Edit:  scores.lua, and reload (kill -HUP its pid): the pool loads it anew.
--
-- Without the pool each call of PostgreSQL would hold up all connections of the worker: for 0.3 ms
-- with a score, for 10 ms to connect, and without end where the database does not answer. With
-- LuaSocket in place of tw.socket, Redis would do the same for 0.3 ms, and for two seconds.
--
-- Clients get
--   {"type":"top","top":[{"player":"ada","points":1200}]}   on connecting, and when it changes
--   {"type":"saved","player":"ada","best":1200}             the answer to a score
--   {"type":"error","error":"points must be …"}             or this

-- Debian has lua-redis there, which runs under Lua 5.4 as it is.
package.path = package.path .. ";/usr/share/lua/5.3/?.lua"

local check = require "check"
local top = require "top"
local tw = require "tidewire"

local scores = tw.pool("scores", {
  threads = 4, -- as many connections to PostgreSQL
  timeout = 5, -- seconds that a call may take
})
local room = tw.room("leaderboard")

-- The list in Redis may lack scores: of the time before it was there, or could not be reached.
local filled = false

-- The ten best: from Redis, or from PostgreSQL where Redis fails. Or nil: neither can be reached.
local function read_top()
  local all, no_database, list, no_redis
  if not filled then
    all, no_database = scores:call("top", top.KEPT)
    if all then filled, no_redis = top.add(all) end
  end
  if filled or not all then
    list, no_redis = top.list()
    filled = filled and list ~= nil
  end
  if not list and not no_database then list, no_database = scores:call("top", top.COUNT) end
  if no_redis or no_database then
    tw.log.warn("no complete list in Redis", { redis = no_redis, postgresql = no_database })
  end
  return list
end

-- The list that clients have got, and how it looked as JSON.
local shown, shown_text

-- One list is read at a time, and then the next one if scores have come meanwhile. So no list
-- overtakes a newer one, and many scores at once cost one list.
local is_refreshing, is_outdated = false, false

local function refresh()
  is_outdated = true
  if is_refreshing then return end
  is_refreshing = true
  while is_outdated do
    is_outdated = false
    local list = read_top()
    local text = list and tw.json.encode(list)
    if text and text ~= shown_text then
      shown, shown_text = tw.array(list), text
      room:broadcast({ type = "top", top = shown })
    elseif not text and not shown then
      room:broadcast({ type = "error", error = "there is no list now" })
    end
  end
  is_refreshing = false
end

local function save(conn, player, points)
  local best, problem = scores:call("save", player, points)
  if not best then
    tw.log.error("score not saved", { player = player, why = problem })
    return conn:send({ type = "error", error = "not saved: the database cannot be reached" })
  end
  conn:send({ type = "saved", player = player, best = best })
  local added
  added, problem = top.add({ { player = player, points = best } })
  if not added then
    filled = false
    tw.log.warn("score not in Redis", { player = player, why = problem })
  end
  tw.spawn(refresh)
end

return {
  workers = 1, -- each would refresh the list by itself
  endpoints = {
    ["/scores"] = {
      codec = "json",
      max_message_size = "1K",

      on_start = function(conn)
        conn:join(room.name)
        if shown then conn:send({ type = "top", top = shown }) end
        tw.spawn(refresh)
      end,

      handle_message = function(conn, message)
        local problem = check.score(message)
        if problem then return conn:send({ type = "error", error = problem }) end
        save(conn, message.player, message.points)
      end,
    },
  },
  http = { ["/"] = { static = "public" } },
}
