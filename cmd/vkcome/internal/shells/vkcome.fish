# fish completion for vkcome. Put it into ~/.config/fish/completions/vkcome.fish, or load it with `vkcome completion fish | source`.

function __vkcome_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l plain (string unescape -- "$current"); or set plain "$current" # a quote may be open
    set -l answer ($words[1] __complete $words[2..-1] ":$plain" 2>/dev/null)
    for line in $answer[2..-1]
        echo $line
    end
    # Behind --flag= the path alone is completed, and what stands before it stays.
    set -l before (string match -r -- '^--[^=]*=' $current)
    set -l path (string replace -r -- '^--[^=]*=' '' $current)
    if contains -- "$answer[1]" files folders
        # Paths are completed as those of a command of which fish knows nothing.
        for found in (complete -C "__fish_command_without_completions $path")
            if test "$answer[1]" = files; or string match -qr '/(\t|$)' -- $found
                echo "$before$found"
            end
        end
    end
end

complete -c vkcome -f -a '(__vkcome_complete)'
