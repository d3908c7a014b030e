-- node.lua -- Node, for specs that run a client or a server in it.

local process = require "support.process"

local node = {}

--- Debian's place for Node packages; a package installed by npm is found by itself.
node.environment = { NODE_PATH = "/usr/share/nodejs" }

--- Is Node there, with its package ws?
---@return boolean
function node.has_ws()
  return process.find("node") ~= nil and process.run("node",
    { args = { "-e", "require('ws')" }, environment = node.environment }).code == 0
end

return node
