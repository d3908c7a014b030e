-- arena.lua -- the game's handler: every message that clients send or get.
--
-- A client connects to /game/MATCH?name=ada and plays at once. MATCH has letters, digits, "_" and
-- "-". The first player begins a match. A player without a name gets one. An invalid name or match
-- gets a 400. A full match closes the connection with 1013, because the script of a page can read
-- the reason of a close, but not of a refused handshake.
--
-- From the client
--   {type="steer", heading, thrust, fire}   the player's wish from now on: whole degrees, 0 to the
--                                           right and 90 down; 0 to 100 per cent of its speed;
--                                           whether it shoots as often as it can
--   anything else                           gets error {code, error}, and the connection stays;
--                                           more than 50 messages a second, for seconds, close it
--                                           with 1008
--
-- To the client
--   welcome {you, match, tick, ticks_per_second, width, height, shields, bolt {speed, ticks},
--            players, positions,
--            orbs, bolts}                   the whole state; once, and again to a client whose
--                                           queue was full, because it may have missed events, and
--                                           to one whose session is resumed
--   joined {player {id, name, bot}}
--   left {id}
--   events {tick, events}                   the events of a tick: world.lua describes them
--   state {tick, players}                   each tick; six numbers for each player: id, x, y,
--                                           heading, points, shields (0: out for a moment; one more
--                                           than all: cannot be hit yet)
--
-- With `resume` a client may ask for a session (docs/sessions.md), as the page does: a player whose
-- network is away for some seconds keeps the place in the match, rests, and gets the whole state
-- again.
--
-- Ticks are numbered. A missing number was skipped by the server, or a newer state has replaced it
-- in the queue of a client that is behind. A newer state leaves at the older one's place, so it can
-- come before the `joined` or `left` of one of its players: rely on `joined` and `left`.

local check = require "check"
local matches = require "matches"
local uv = require "luv"

local MESSAGES_PER_SECOND = 50
local MESSAGES_AT_ONCE = 250 -- the messages of a few seconds without a network

-- Each message takes one token of the connection's bucket, which fills with time. Closes the
-- connection and returns false when the bucket is empty.
local function may_go_on(conn)
  local now = uv.now() / 1000
  conn.allowance =
    math.min(MESSAGES_AT_ONCE,
      conn.allowance + (now - conn.last_message_at) * MESSAGES_PER_SECOND) - 1
  conn.last_message_at = now
  if conn.allowance < 0 then
    conn:close(1008, ("more than %d messages a second"):format(MESSAGES_PER_SECOND))
  end
  return conn.allowance >= 0
end

local function refuse(conn, code, why)
  conn:send({ type = "error", code = code, error = why })
end

return {
  codec = "json",
  max_message_size = "1K",
  slow_client = "conflate",
  max_backlog = "256K",
  ping_period = 5,
  pong_period = 15,
  resume = { seconds = 15, messages = 2000, bytes = "1M" },

  validate = function(request)
    local name = request.query.name ~= "" and request.query.name or nil
    local problem = check.match(request.params.match) or name and check.name(name)
    if problem then
      return nil, 400, problem
    end
    return { player_name = name or ("glider %d"):format(math.random(100, 999)) }
  end,

  on_start = function(conn)
    conn.allowance, conn.last_message_at = MESSAGES_AT_ONCE, uv.now() / 1000
    local entered, why_not = matches.enter(conn, conn.params.match, conn.player_name)
    if not entered then
      conn:close(1013, why_not)
    end
  end,

  handle_message = function(conn, message)
    if not may_go_on(conn) then
      return
    end
    if type(message) ~= "table" or message.type ~= "steer" then
      return refuse(conn, "unknown_type",
        'send {"type":"steer","heading":90,"thrust":100,"fire":false}')
    end
    local problem = check.steer(message)
    if problem then
      return refuse(conn, "bad_steer", problem)
    end
    conn.player:steer(message.heading, message.thrust, message.fire)
  end,

  on_drain = function(conn)
    conn.match:welcome(conn)
  end,

  on_disconnect = function(conn)
    if conn.player then
      conn.player:steer(0, 0, false)
    end
  end,

  on_resume = function(conn)
    conn.match:welcome(conn)
  end,

  on_error = function(conn, err)
    if err.kind == "decode" then
      if may_go_on(conn) then
        refuse(conn, "not_json", "this is not JSON")
      end
    else
      refuse(conn, "internal", "something went wrong here")
    end
    return false
  end,

  on_close = function(conn)
    if conn.match then
      matches.leave(conn)
    end
  end,
}
