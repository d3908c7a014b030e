-- unix.lua -- `require "socket.unix"`: stream sockets at paths, in LuaSocket's shape.

local Stream = require "tidewire.socket.stream"

local unix = {}

--- A Unix socket that is not connected; its connect takes a path.
---@return tidewire.socket.Stream
function unix.stream()
  return Stream.new "unix"
end

unix.tcp = unix.stream

--- Datagrams do not exist here.
function unix.dgram()
  error("socket.unix.dgram does not exist here: this module connects streams; datagrams at paths "
    .. "need another program, or a thread", 2)
end

unix.udp = unix.dgram

return setmetatable(unix, { __call = function() return unix.stream() end })
