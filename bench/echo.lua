-- The handler that scripts/bench measures: text in, the same text out.
return {
  codec = "text",
  handle_message = function(conn, message)
    conn:send(message)
  end,
}
