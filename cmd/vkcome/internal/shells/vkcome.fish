# fish completion for vkcome. Put it into ~/.config/fish/completions/vkcome.fish, or load it with `vkcome completion fish | source`.

function __vkcome_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l answer ($words[1] __complete $words[2..-1] ":$current" 2>/dev/null)
    for line in $answer[2..-1]
        echo $line
    end
    # Behind --flag= the path alone is completed, and what stands before it stays.
    set -l before (string match -r -- '^--[^=]*=' $current)
    set -l path (string replace -r -- '^--[^=]*=' '' $current)
    switch "$answer[1]"
        case files
            for found in (__fish_complete_path "$path")
                echo "$before$found"
            end
        case folders
            for found in (__fish_complete_directories "$path" '')
                echo "$before$found"
            end
    end
end

complete -c vkcome -f -a '(__vkcome_complete)'
