-- app.lua -- hot_reload: the script is changed while two people talk, and they go on by new rules.
--
-- Run: scripts/run examples/hot_reload/app.lua --watch (without --watch: kill -HUP its pid) Type:
-- scripts/run talk "ws://127.0.0.1:8080/room?name=ada" and in another terminal
--        scripts/run talk "ws://127.0.0.1:8080/room?name=bob"
--        darn, hello               both see "ada (1): ****, hello": the number is how often ada has spoken
-- Edit: rules.lua, and save: VERSION = "2", another word in BANNED, text:upper() in place of text
-- in rules.say
--        Both are told that generation 2 runs. What they say now goes by the new rules; the numbers go on.
-- Break: take an "end" away, and save: the log has reload_failed with file and line. Nothing else
-- has changed.
--        What fails only when it runs (tex:upper() in rules.say) does take over, and is on_error's affair.
-- Wait: later darn says it in ten seconds, by the rules of now, whatever is saved meanwhile

local rules = require "rules" -- each generation has its own
local tw = require "tidewire"

local room = tw.room("room")
local kept = tw.keep("hot_reload", { reloads = 0 }) -- the same table in each generation
local before -- a plain variable: nil whenever the code is loaded

-- Made while the code is loaded, so it ends with this generation: there is one, however many
-- reloads there were.
if tw.worker == 0 then
  tw.every(rules.NEWS, function()
    room:broadcast(("* news of generation %d: %d here"):format(tw.generation, room:size()))
  end)
end

local person = {
  on_start = function(conn)
    conn.who, conn.said = conn.query.name or "somebody", 0
    conn:join(room.name)
    conn:send(rules.greeting(conn.who))
  end,

  handle_message = function(conn, text)
    conn.said = conn.said + 1 -- a field of conn: no reload takes it away
    local slow = text:match("^later (.*)")
    if slow then
      conn:send("* in ten seconds")
      tw.sleep(10) -- goes on here, in this generation; the connection's on_reload waits for it
    end
    room:broadcast(rules.say(conn.who, conn.said, slow or text))
  end,

  -- Once for each connection that was there, in the new code and before its next hook.
  on_reload = function(conn)
    conn:send(("* generation %d runs: rules %s after rules %s (reloads: %d, what you have said: %d)"):format(
      tw.generation, rules.VERSION, before, kept.reloads, conn.said))
  end,

  on_error = function(conn) conn:send("* something went wrong here: the log says what") end,
}

return {
  endpoints = { ["/room"] = person },
  http = { ["GET /rules"] = function() return rules.VERSION end },

  -- The new code has taken over, in this worker; `old` is what the code before it has returned
  -- here.
  on_reload = function(old)
    kept.reloads = kept.reloads + 1
    before = old.http["GET /rules"]()
    tw.log.info("new rules", { from = before, to = rules.VERSION })
  end,
}
