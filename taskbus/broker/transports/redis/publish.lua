-- Accept messages, all or none; joined to base.lua and push.lua. ARGV[4..] is what `push` reads.
push(4)
return 1
