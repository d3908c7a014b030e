-- handler.lua -- sends each message back.
return {
  handle_message = function(conn, message, kind)
    conn:send(message, kind)
  end,
}
