-- app.lua -- resilient: closes a connection after its third error, and asks a silent client before
-- it closes.
--
-- Run:   scripts/run examples/resilient/app.lua
-- Type:  scripts/run talk ws://127.0.0.1:8080/
--        {"type":"hello"}           works
--        {"type":"fail"}            makes the handler throw
--        this is not JSON           cannot be decoded
--        a third error              closes, with 4001
--        Or wait: after 20 seconds of silence the server asks, after 40 it says goodbye and closes.
--
-- The results of on_error and on_timeout decide: false keeps the connection, true closes it.

local MOST_ERRORS = 3

return {
  codec = "json",
  ping_period = 0, -- no pings: their answers would count as signs of life
  pong_period = 20,

  on_start = function(conn)
    conn.errors = 0
    conn.was_asked = false
  end,

  handle_message = function(conn, message)
    conn.was_asked = false
    if message.type == "fail" then
      error("as you wish")
    end
    conn:send({ type = "ok", errors = conn.errors })
  end,

  -- err.kind says whose mistake it was: "decode" the client's, "script" the script's. The client
  -- gets no details; the log has errors of the script, with their traceback.
  on_error = function(conn, err)
    conn.errors = conn.errors + 1
    conn:send({
      type = "error",
      error = err.kind == "decode" and "this is not JSON" or "something went wrong here",
      left = MOST_ERRORS - conn.errors,
    })
    if conn.errors >= MOST_ERRORS then
      conn:close(4001, "too many errors") -- without it, 1007 or 1011
      return true
    end
    return false
  end,

  on_timeout = function(conn)
    if not conn.was_asked then
      conn.was_asked = true
      conn:send({ type = "question", text = "are you still there?" })
      return false -- keep it; this is asked again when another pong_period was silent
    end
    conn:send({ type = "goodbye", text = "you were away for too long" })
    return true -- what was sent still arrives, then a Close frame with 4408
  end,
}
