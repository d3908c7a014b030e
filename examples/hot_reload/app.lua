-- app.lua -- hot_reload: a script is changed while two users talk, and the new rules apply at once.
--
-- Run:   scripts/run examples/hot_reload/app.lua --watch      (without --watch: kill -HUP its pid)
-- Type:  scripts/run talk "ws://127.0.0.1:8080/room?name=ada"      and in another terminal
--        scripts/run talk "ws://127.0.0.1:8080/room?name=bob"
--        darn, hello             both see "ada (1): ****, hello"; the number counts ada's messages
-- Edit:  rules.lua, and save: VERSION = "2", another word in BANNED, text:upper() in place of text
--        in rules.say
--        Both get the message that generation 2 runs. The new rules apply to later messages, and
--        the numbers go on.
-- Break: remove an "end", and save: the log has reload_failed with file and line, and nothing else
--        changes.
--        Code that fails only when it runs (tex:upper() in rules.say) is activated, and on_error
--        handles the error.
-- Wait:  later darn              is sent in ten seconds, by the rules of now, although a script
--                                is saved meanwhile

local rules = require "rules" -- each generation has its own
local tw = require "tidewire"

local room = tw.room("room")
local kept = tw.keep("hot_reload", { reloads = 0 }) -- the same table in each generation
local before -- a plain variable: nil after each load

-- Started while the code is loaded, so it ends with this generation: only one runs after any number
-- of reloads.
if tw.worker == 0 then
  tw.every(rules.NEWS, function()
    room:broadcast(("* news of generation %d: %d here"):format(tw.generation, room:size()))
  end)
end

local person = {
  on_start = function(conn)
    conn.username, conn.said = conn.query.name or "a guest", 0
    conn:join(room.name)
    conn:send(rules.greeting(conn.username))
  end,

  handle_message = function(conn, text)
    conn.said = conn.said + 1 -- a field of conn, which reloads keep
    local slow = text:match("^later (.*)")
    if slow then
      conn:send("* in ten seconds")
      tw.sleep(10) -- goes on here, in this generation; the connection's on_reload waits for it
    end
    room:broadcast(rules.say(conn.username, conn.said, slow or text))
  end,

  -- Called in the new code, once for each live connection, before its next hook.
  on_reload = function(conn)
    conn:send(("* generation %d runs: rules %s after rules %s (reloads: %d, what you have "
      .. "said: %d)"):format(
        tw.generation, rules.VERSION, before, kept.reloads, conn.said))
  end,

  on_error = function(conn) conn:send("* something went wrong here: the log says what") end,
}

return {
  endpoints = { ["/room"] = person },
  http = { ["GET /rules"] = function() return rules.VERSION end },

  -- This worker has activated the new code; `old` is the table that the old code has returned.
  on_reload = function(old)
    kept.reloads = kept.reloads + 1
    before = old.http["GET /rules"]()
    tw.log.info("new rules", { from = before, to = rules.VERSION })
  end,
}
