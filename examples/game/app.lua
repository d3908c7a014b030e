-- app.lua -- game: many gliders in an arena that the server computes, twenty times a second; with a
-- page.
--
-- Run:   scripts/run examples/game/app.lua
-- See:   http://127.0.0.1:8080/               in two windows, or alone: there are bots
-- Type:  scripts/run talk "ws://127.0.0.1:8080/game/arena?name=ada"
--        {"type":"steer","heading":90,"thrust":100,"fire":true}
--        curl http://127.0.0.1:8080/matches   the running matches, the match for quick play, and
--                                             the ticks that were skipped
--        curl http://127.0.0.1:8080/stats     the same of all matches since the start
--        GAME_BOTS=30 scripts/run examples/game/app.lua          settings.lua has all of these
-- Load:  lua5.4 examples/game/bots.lua --url ws://127.0.0.1:8080/game/arena \
--               --count 200 --seconds 60
--        with the server on one core and the bots on another: taskset -c 0 …, taskset -c 1 …
--        Where others use the server's core, ticks are late however little the server itself
--        does: chrt -f 1 taskset -c 0 …
--
-- handlers/arena.lua describes all messages, world.lua has the rules, and match.lua is the clock.

local matches = require "matches"
local tw = require "tidewire"

-- Plain Lua variables, which belong to one worker, hold a match. With two workers, players of the
-- same match would be in different worlds. A tick for 200 players takes a fraction of a core, so
-- one worker is enough.
if tw.worker > 0 then
  error("the game runs with one worker, because a match lives in one: leave --workers and "
    .. "TIDEWIRE_WORKERS out", 0)
end

local function fresh(value)
  return { headers = { ["Cache-Control"] = "no-store" }, body = value }
end

return {
  workers = 1, -- see above
  endpoints = { ["/game/:match"] = "handlers.arena" },
  http = {
    client = true,
    ["/"] = { static = "public" },
    ["GET /matches"] = function()
      return fresh({ matches = matches.list(), quick = matches.quick() })
    end,
    ["GET /stats"] = function() return fresh(matches.figures()) end,
  },
}
