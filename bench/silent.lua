-- silent.lua -- a server that sends nothing, for clients that wait.

return { handle_message = function() end }
