-- handler.lua -- each message is sent back.
return {
  handle_message = function(conn, message, kind)
    conn:send(message, kind)
  end,
}
